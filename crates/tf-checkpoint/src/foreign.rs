//! Recognises files that are not part of a checkpoint, by their first bytes or their names.
//!
//! Users often give a downloaded archive, the weights of another framework, or a file that a server or
//! git left in place of the real one. [`TABLE`] lists the recognised kinds and what to do about each;
//! its order decides which file of a directory an error names.

use std::io;
use std::path::Path;

use crate::address::quoted;
use crate::error::Error;
use crate::file_kind::FileKind;
use crate::formats::ArchiveFormat;
use crate::hdf5;
use crate::storage::ReadAt;
use crate::storage::archive::tar::{GZIP, GZIPPED_NAMES, is_gzipped_tar, is_tar};
use crate::storage::archive::zip::MAGIC as ZIP;

/// Number of bytes at the start of a file that are examined.
pub(crate) const START_LEN: usize = 1 << 10;

/// A kind of file.
struct Row {
    /// At least one of them must match.
    signs: &'static [Sign],
    /// Endings of the name, one of which must match; empty for any name.
    names: &'static [&'static str],
    kind: FileKind,
    what: &'static str,
    /// What to do. `{file}` and `{directory}` are replaced.
    advice: &'static str,
    reported: Reported,
}

/// A feature by which a kind of file is recognised.
enum Sign {
    /// Bytes at an offset.
    At(usize, &'static [u8]),
    /// Text anywhere in the start of a zip archive.
    InZip(&'static str),
    /// The first header of a tar archive.
    Tar,
    /// The same, compressed with gzip.
    GzippedTar,
    /// Text at the beginning, in any case, after white space.
    Text(&'static str),
    /// The name alone.
    Name,
    /// A length of zero.
    Empty,
}

/// Where a kind of file is reported as an error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reported {
    /// Anywhere, also in place of a checkpoint's own file.
    Instead,
    /// In a directory that holds no checkpoint, and where its path is given.
    Beside,
    /// Only where its path is given.
    Given,
}

use FileKind::{Archive, Json, Model, Other, Safetensors, StandIn, Tar, Zip};
use Reported::{Beside, Given, Instead};
use Sign::{At, Empty, GzippedTar, InZip, Name, Text};

const TAR: &str = ArchiveFormat::Tar.what();
const TAR_GZ: &str = ArchiveFormat::TarGz.what();
const READ: &str = "give its path, {file}";
const SAVE_AGAIN: &str = "download the file itself again";
const UNPACK: &str = "unpack it first: tar xf {file}";
const ORIGINAL: &str = "give the training checkpoint that it was made from (model.ckpt-N.index)";
const PYTORCH: &str = "it needs no conversion: transformers loads {directory} as it is";
// Keras does not load such a file of a class of transformers, but it loads the weights in it.
const KERAS: &str = "unpack model.weights.h5 from it (unzip {file} model.weights.h5), load that file into a model of \
                     its class in TensorFlow 2.15 (load_weights), call save_weights(\"weights.h5\"), and give weights.h5";
const CHECKPOINT: &str = "give the checkpoint (model.ckpt-N)";

const fn row(
    kind: FileKind,
    signs: &'static [Sign],
    names: &'static [&'static str],
    what: &'static str,
    advice: &'static str,
    reported: Reported,
) -> Row {
    Row {
        signs,
        names,
        kind,
        what,
        advice,
        reported,
    }
}

/// Sources: the formats' own specifications, and `magic(5)`.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    row(StandIn, &[Text("version https://git-lfs.github.com/spec/"), Text("version https://hawser.github.com/spec/")], &[],
        "a Git LFS pointer, not the file itself",
        "run `git lfs pull` in the clone of its repository ({directory})", Instead),
    row(StandIn, &[Text("<!doctype html"), Text("<html"), Text("<head")], &[],
        "an HTML page, not the file itself",
        "download the file itself (the address of a file on GitHub or Hugging Face has /raw/ or /resolve/, not /blob/)", Instead),
    row(StandIn, &[Text("<?xml"), Text("<Error>")], &[],
        "an XML document, such as a bucket returns in place of a file that it refuses",
        "read the message in it (head -c 500 {file}), and download the file itself again", Instead),
    row(StandIn, &[Text("404: Not Found"), Text("Not Found"), Text("Entry not found"), Text("Repository not found"),
          Text("Invalid username or password"), Text("Access to model "), Text("AccessDenied")], &[],
        "the error message of a server, not the file itself", SAVE_AGAIN, Instead),

    row(Safetensors, &[At(8, b"{\"")], &["model.safetensors"], "a safetensors file", PYTORCH, Beside),
    row(Model, &[At(512, hdf5::SIGNATURE)], &[], "an HDF5 file behind a block of other contents",
        "remove the block with the HDF5 tools (h5unjam -i {file} -o plain.h5) and give plain.h5", Beside),
    row(Model, &[InZip("model.weights.h5")], &[], "a model in Keras 3's format", KERAS, Beside),
    row(Model, &[At(0, ZIP)], &[".keras"], "a model in Keras 3's format", KERAS, Beside),
    row(Model, &[InZip("data.pkl")], &[], "a PyTorch file", PYTORCH, Beside),
    row(Model, &[At(0, ZIP), At(0, b"\x80\x02"), At(0, b"\x80\x03"), At(0, b"\x80\x04"), At(0, b"\x80\x05")],
        &[".bin", ".pt", ".pth", ".ckpt", ".ot", ".pkl"], "a PyTorch file", PYTORCH, Beside),
    row(Model, &[At(0, b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")], &[], "a PyTorch file", PYTORCH, Beside),
    row(Safetensors, &[At(8, b"{\"")], &[".safetensors"], "a safetensors file", PYTORCH, Beside),
    row(Model, &[InZip(".npy")], &[], "an archive of NumPy arrays", ORIGINAL, Beside),
    row(Model, &[At(0, b"\x93NUMPY")], &[], "a NumPy array", ORIGINAL, Beside),
    row(Model, &[At(4, b"TFL3")], &[], "a TensorFlow Lite model", ORIGINAL, Beside),
    row(Model, &[Name], &[".onnx"], "an ONNX model", ORIGINAL, Beside),
    row(Model, &[At(0, b"GGUF")], &[], "a GGUF model", ORIGINAL, Beside),
    row(Model, &[Name], &[".msgpack"], "a Flax model", ORIGINAL, Beside),
    row(Model, &[Name], &[".pb"], "a frozen TensorFlow graph", ORIGINAL, Beside),

    row(Tar, &[GzippedTar], &[], TAR_GZ, READ, Beside),
    row(Tar, &[At(0, GZIP)], GZIPPED_NAMES, TAR_GZ, READ, Beside),
    row(Archive, &[At(0, GZIP)], &[".gz"], "a gzip file", "unpack it first: gunzip -k {file}", Beside),
    row(Archive, &[At(0, GZIP)], &[], "a gzip file", "unpack it first: gunzip < {file} > unpacked", Beside),
    row(Archive, &[At(0, b"BZh")], &[".tar.bz2", ".tbz2", ".tbz"], "a compressed tar archive", UNPACK, Beside),
    row(Archive, &[At(0, b"BZh")], &[".bz2"], "a bzip2 file", "unpack it first: bunzip2 -k {file}", Beside),
    row(Archive, &[At(0, b"\xfd7zXZ\0")], &[".tar.xz", ".txz"], "a compressed tar archive", UNPACK, Beside),
    row(Archive, &[At(0, b"\xfd7zXZ\0")], &[], "an xz file", "unpack it first: unxz -k {file}", Beside),
    row(Archive, &[At(0, b"\x28\xb5\x2f\xfd")], &[".tar.zst", ".tzst"], "a compressed tar archive", UNPACK, Beside),
    row(Archive, &[At(0, b"\x28\xb5\x2f\xfd")], &[], "a Zstandard file", "unpack it first: unzstd {file}", Beside),
    row(Archive, &[At(0, b"\x04\x22\x4d\x18")], &[], "an LZ4 file", "unpack it first: unlz4 {file}", Beside),
    row(Archive, &[At(0, b"\x1f\x9d")], &[".Z"], "a compressed file", "unpack it first: uncompress {file}", Beside),
    row(Tar, &[Sign::Tar], &[], TAR, READ, Beside),
    row(Tar, &[Name], &[".tar"], TAR, READ, Beside),
    row(Archive, &[At(0, b"7z\xbc\xaf\x27\x1c")], &[], "a 7z archive", "unpack it first: 7z x {file}", Beside),
    row(Archive, &[At(0, b"Rar!\x1a\x07")], &[], "a RAR archive", "unpack it first: unrar x {file}", Beside),
    row(Zip, &[At(0, ZIP)], &[], ArchiveFormat::Zip.what(), READ, Beside),

    row(Other, &[Empty], &[], "an empty file", SAVE_AGAIN, Given),
    row(Json, &[Text("{"), Text("[{")], &[], "a JSON file, which holds no weights", CHECKPOINT, Given),
    row(Other, &[Name], &[".tfrecord"], "a file of training examples", CHECKPOINT, Given),
    row(Other, &[Name], &["graph.pbtxt"], "a graph without weights", CHECKPOINT, Given),
];

/// The start of a file.
pub(crate) struct Start<'a> {
    /// The first [`START_LEN`] bytes, or all of a shorter file.
    pub(crate) bytes: &'a [u8],
    /// The path of the file.
    pub(crate) path: &'a Path,
    /// True for a member of an archive, whose path other programs cannot open.
    pub(crate) in_archive: bool,
}

impl Start<'_> {
    /// Returns the error for a file whose path was given.
    pub(crate) fn given(&self) -> Option<Error> {
        Some(self.error(self.rows().next()?.1))
    }

    /// Returns the error for a file in a directory without checkpoint, and its rank: of several files the
    /// one of the lowest rank is reported.
    pub(crate) fn beside(&self) -> Option<(usize, Error)> {
        let (rank, row) = self.rows().find(|(_, row)| row.reported != Given)?;
        Some((rank, self.error(row)))
    }

    /// Returns the error for a file in place of one of a checkpoint's own.
    pub(crate) fn instead(&self) -> Option<Error> {
        let (_, row) = self.rows().find(|(_, row)| row.reported == Instead)?;
        Some(self.error(row))
    }

    /// Returns the error for a file whose format is built on an archive, such as PyTorch's; `None` for a
    /// plain archive.
    pub(crate) fn not_plain_archive(&self) -> Option<Error> {
        let (_, row) = self.rows().next()?;
        (!matches!(row.kind, Zip | Tar)).then(|| self.error(row))
    }

    fn rows(&self) -> impl Iterator<Item = (usize, &'static Row)> {
        TABLE.iter().enumerate().filter(|(_, row)| self.fits(row))
    }

    fn fits(&self, row: &Row) -> bool {
        let name = self.path.file_name().unwrap_or_default();
        let name = name.as_encoded_bytes();
        let ends = |end: &&str| {
            let at = name.len().checked_sub(end.len());
            at.is_some_and(|at| name[at..].eq_ignore_ascii_case(end.as_bytes()))
        };
        (row.names.is_empty() || row.names.iter().any(ends))
            && row.signs.iter().any(|sign| self.shows(sign))
    }

    fn shows(&self, sign: &Sign) -> bool {
        let bytes = self.bytes;
        match *sign {
            At(at, magic) => bytes.get(at..).is_some_and(|rest| rest.starts_with(magic)),
            InZip(name) => {
                let mut windows = bytes.windows(name.len());
                bytes.starts_with(ZIP) && windows.any(|window| window == name.as_bytes())
            }
            Sign::Tar => is_tar(bytes),
            GzippedTar => is_gzipped_tar(bytes),
            Text(text) => {
                let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
                let start = bytes.trim_ascii_start().get(..text.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(text.as_bytes()))
            }
            Name => !bytes.is_empty(),
            Empty => bytes.is_empty(),
        }
    }

    fn error(&self, row: &Row) -> Error {
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = match self.path.file_name() {
            Some(name) if self.in_archive => name,
            _ => self.path.as_os_str(),
        };
        let advice = row
            .advice
            .replace("{file}", &quoted(file))
            .replace("{directory}", &quoted(directory.as_os_str()));
        // What another program would have to open is not given as the path of a checkpoint.
        let checkpoint = match row.kind {
            Zip | Tar if !self.in_archive => Some(self.path.to_owned()),
            _ => None,
        };
        Error::Unsupported {
            path: self.path.to_owned(),
            kind: row.kind,
            what: row.what.into(),
            checkpoint,
            advice: if self.in_archive {
                format!("{advice} (after unpacking the archive)")
            } else {
                advice
            },
        }
    }
}

/// Reads the start of a file, at most 1 KiB, for [`refuse_stand_in`].
pub fn start(file: &dyn ReadAt) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.len()).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len.min(START_LEN)];
    file.read_once(&mut bytes, 0)?;
    Ok(bytes)
}

/// Fails if `bytes`, the start or all of the file at `path`, show that a server or git left something
/// else in place of the file: an HTML page, a Git LFS pointer.
///
/// ```
/// # use std::path::Path;
/// let page = tf_checkpoint::refuse_stand_in(Path::new("vocab.txt"), b"<!DOCTYPE html>");
/// assert!(page.unwrap_err().to_string().contains("an HTML page"));
/// ```
///
/// # Errors
/// [`Error::Unsupported`] of [`FileKind::StandIn`].
pub fn refuse_stand_in(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let bytes = &bytes[..bytes.len().min(START_LEN)];
    let start = Start {
        bytes,
        path,
        in_archive: false,
    };
    start.instead().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, bytes: &[u8]) -> String {
        let start = Start {
            bytes,
            path: Path::new(name),
            in_archive: false,
        };
        start
            .given()
            .map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn first_bytes_decide_and_names_where_there_are_no_magic_numbers() {
        let mut tar = vec![b'x'; 600];
        tar[257..262].copy_from_slice(b"ustar");
        for (name, bytes, words) in [
            (
                "d/e.tar.gz",
                &b"\x1f\x8b\x08\0"[..],
                "give its path, d/e.tar.gz",
            ),
            ("my e.TGZ", b"\x1f\x8b\x08\0", "give its path, 'my e.TGZ'"),
            ("v.txt.gz", b"\x1f\x8b\x08\0", "gunzip -k v.txt.gz"),
            ("download", b"\x1f\x8b\x08\0", "gunzip < download"),
            ("m.tar", &tar, "give its path, m.tar"),
            ("m", &tar, "a tar archive"),
            (
                "m.index",
                b"\n version https://git-lfs.github.com/spec/v1\noid",
                "`git lfs pull`",
            ),
            ("d/m", b"\xef\xbb\xbf<!DOCTYPE HTML>", "an HTML page"),
            ("m", b"<?xml version='1.0'?><Error>", "XML"),
            (
                "m.zip",
                b"PK\x03\x04............archive/data.pkl",
                "PyTorch",
            ),
            ("model.keras", b"PK\x03\x04", "Keras 3"),
            ("pytorch_model.bin", b"\x80\x02}q", "PyTorch"),
            (
                "model.safetensors",
                b"\x08\0\0\0\0\0\0\0{\"a\"",
                "safetensors",
            ),
            ("a.tflite", b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
            ("a.onnx", b"\x08\x07", "ONNX"),
            ("a.pb", b"\n", "frozen"),
            ("a", b"", "an empty file"),
            ("config.json", b"{\n", "JSON"),
        ] {
            let found = of(name, bytes);
            assert!(found.contains(words), "{name}: {found:?}");
            assert!(found.starts_with(name), "{name}: {found:?}");
        }
        assert_eq!(of("vocab.txt", b"[PAD]\n"), "");
        assert_eq!(of("model.ckpt-4", b"\0\x01\x02"), "");
        assert!(refuse_stand_in(Path::new("v"), b"\x1f\x8b\x08\0").is_ok());
        assert!(refuse_stand_in(Path::new("v"), b"<html>").is_err());
    }
}
