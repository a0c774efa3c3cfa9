//! What differs between operating systems: opening files, positioned reads, file identity, and names
//! given as bytes.
//!
//! `unix` and `windows` define the same items; everything else in this crate is portable. The Windows
//! side compiles against the standard library of `x86_64-pc-windows-gnu`; it was never run.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{
    TEMP_VARIABLE, free_space, is_impossible_name, open, os_string, read_exact_at, special_file,
};
#[cfg(windows)]
pub(crate) use windows::{
    TEMP_VARIABLE, free_space, is_impossible_name, open, os_string, read_exact_at, special_file,
};

#[cfg(unix)]
pub use unix::FileId;
#[cfg(windows)]
pub use windows::FileId;

// Counts and lengths are multiplied as `usize` after a check that assumes 64 bits.
#[cfg(not(target_pointer_width = "64"))]
compile_error!("tf-checkpoint needs a 64-bit target");

/// Returns true for a byte that separates the components of a path.
pub(crate) fn is_separator(byte: u8) -> bool {
    byte.is_ascii() && std::path::is_separator(char::from(byte))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io;

    use super::*;

    #[test]
    fn reads_are_complete_or_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"0123456789").unwrap();
        let file = open(&path).unwrap();
        let mut buf = [0; 4];
        read_exact_at(&file, &mut buf, 6).unwrap();
        assert_eq!(&buf, b"6789");
        read_exact_at(&file, &mut buf, 0).unwrap();
        assert_eq!(&buf, b"0123");
        for offset in [7, 10, 1 << 40] {
            let error = read_exact_at(&file, &mut buf, offset).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{offset}");
        }
        read_exact_at(&file, &mut [], 10).unwrap();
    }

    #[test]
    fn a_file_keeps_its_identity_under_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| folder.path().join(name));
        fs::write(&a, b"1").unwrap();
        let id = |path| FileId::of(&fs::metadata(path).unwrap());
        let before = id(&a);
        assert_eq!(
            FileId::of(&File::open(&a).unwrap().metadata().unwrap()),
            before
        );
        fs::rename(&a, &b).unwrap();
        assert_eq!(id(&b), before);
        fs::write(&c, b"1").unwrap();
        assert_ne!(id(&c), before);
    }

    #[test]
    fn names_are_kept_byte_by_byte() {
        for name in ["", "model.ckpt-4", "ü", "🦀"] {
            assert_eq!(os_string(name.as_bytes()), name);
        }
        assert!(is_separator(b'/'));
        assert!(!is_separator(b'a') && !is_separator(0xdc));
    }
}
