//! What differs between operating systems where an export is written and published: positioned writes,
//! the lock on the output directory, the number of a file, and syncing a directory.
//!
//! `unix` and `windows` define the same items; everything else in this package is portable. The Windows
//! side compiles against the standard library of `x86_64-pc-windows-gnu`; it was never run.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{DirectoryLock, file_number, sync_directory, write_all_at};
#[cfg(windows)]
pub(crate) use windows::{DirectoryLock, file_number, sync_directory, write_all_at};

#[cfg(test)]
mod tests {
    use std::fs::{self, File, TryLockError};
    use std::io;

    use super::*;

    #[test]
    fn positioned_writes_are_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::create_new(&path).unwrap();
        write_all_at(&file, b"6789", 6).unwrap();
        write_all_at(&file, b"012345", 0).unwrap();
        write_all_at(&file, b"", 3).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"0123456789");
    }

    #[test]
    fn a_file_keeps_its_number_under_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&a, "1").unwrap();
        let number = |path| file_number(&fs::symlink_metadata(path).unwrap());
        let before = number(&a);
        fs::rename(&a, &b).unwrap();
        assert_eq!(number(&b), before);
    }

    #[test]
    fn a_directory_is_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        let lock = DirectoryLock::acquire(&out).unwrap();
        assert!(lock.is_exclusive() && lock.is_of(&out).unwrap());
        let second = DirectoryLock::acquire(&out);
        assert!(matches!(second, Err(TryLockError::WouldBlock)));

        lock.create_dir("inside").unwrap();
        assert!(out.join("inside").is_dir());
        let error = lock.create_dir("inside").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        drop(lock);
        assert!(DirectoryLock::acquire(&out).is_ok());
        sync_directory(&out).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_stays_on_the_directory_that_was_opened() {
        let folder = tempfile::tempdir().unwrap();
        let [out, moved] = ["out", "moved"].map(|name| folder.path().join(name));
        fs::create_dir(&out).unwrap();
        let lock = DirectoryLock::acquire(&out).unwrap();
        fs::rename(&out, &moved).unwrap();
        assert!(!lock.is_of(&out).unwrap());
        fs::create_dir(&out).unwrap();
        assert!(!lock.is_of(&out).unwrap() && lock.is_of(&moved).unwrap());
        fs::remove_dir(&moved).unwrap();
        let error = lock.create_dir("inside").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
