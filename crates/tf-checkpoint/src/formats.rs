//! The table of what is read: the formats of checkpoints, and the archives that may hold their files.
//!
//! Reports and errors take their words from this table, and tests compare the documents with it. Files that are
//! recognised but not read are in the table of `foreign`.

use std::fmt;

/// The format of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// An index and data files, the default since TensorFlow 1.0.
    TensorBundle,
    /// Tables that hold the values, the format before 1.0 and an option since.
    V1,
    /// The directory of a SavedModel: its graph, and its variables in a TensorBundle.
    SavedModel,
    /// An HDF5 file of Keras weights, such as `tf_model.h5`.
    Hdf5,
}

/// The format of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ArchiveFormat {
    /// A zip archive.
    Zip,
    /// A tar archive.
    Tar,
    /// A tar archive that is compressed with gzip.
    TarGz,
}

/// A line of the table.
struct Row {
    /// The identifier for machines.
    key: &'static str,
    /// The name with its article.
    what: &'static str,
    /// The names of the files, as Markdown.
    files: &'static str,
    /// What of the format is read, as Markdown.
    scope: &'static str,
}

const TENSOR_BUNDLE: Row = Row {
    key: "tensor_bundle",
    what: "a TensorBundle",
    files: "`PREFIX.index`, `PREFIX.data-00000-of-00001`",
    scope: "V2, the default since TensorFlow 1.0: one or several data files, partitioned variables, big-endian \
            files, object-based checkpoints of TensorFlow 2",
};
const V1: Row = Row {
    key: "v1",
    what: "a V1 checkpoint",
    files: "`PREFIX`, or `PREFIX-00000-of-00002`",
    scope: "the default before TensorFlow 1.0: one or several files, partitioned variables",
};
const SAVED_MODEL: Row = Row {
    key: "saved_model",
    what: "a SavedModel",
    files: "`saved_model.pb`, `variables/variables.index` and its data files",
    scope: "of TensorFlow 1 and 2, with or without signatures; not as text (`saved_model.pbtxt`)",
};
const HDF5: Row = Row {
    key: "hdf5",
    what: "an HDF5 file of Keras weights",
    files: "`tf_model.h5`, `weights.h5`",
    scope: "weights and whole models of Keras 2; neither compressed nor in chunks",
};
const ZIP: Row = Row {
    key: "zip",
    what: "a zip archive",
    files: "`.zip`",
    scope: "compressed members are inflated into temporary files when they are needed",
};
const TAR: Row = Row {
    key: "tar",
    what: "a tar archive",
    files: "`.tar`",
    scope: "read in place",
};
const TAR_GZ: Row = Row {
    key: "tar_gz",
    what: "a tar archive compressed with gzip",
    files: "`.tar.gz`, `.tgz`",
    scope: "inflated when it is opened; long members into temporary files when they are needed",
};

impl Row {
    fn name(&self) -> &'static str {
        self.what
            .split_once(' ')
            .map_or(self.what, |(_, name)| name)
    }

    fn markdown(&self) -> String {
        format!("| {} | {} | {} |", self.name(), self.files, self.scope)
    }
}

impl Format {
    /// All formats, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::TensorBundle, Self::V1, Self::SavedModel, Self::Hdf5];

    const fn row(self) -> &'static Row {
        match self {
            Self::TensorBundle => &TENSOR_BUNDLE,
            Self::V1 => &V1,
            Self::SavedModel => &SAVED_MODEL,
            Self::Hdf5 => &HDF5,
        }
    }

    /// Returns the identifier for machines: `tensor_bundle`, `v1`, `saved_model` or `hdf5`.
    pub const fn key(self) -> &'static str {
        self.row().key
    }

    /// Returns the name with its article, such as `a TensorBundle`.
    pub const fn what(self) -> &'static str {
        self.row().what
    }

    /// Returns the line of the table of formats in Markdown: name, files, what of the format is read.
    pub fn markdown(self) -> String {
        self.row().markdown()
    }
}

impl ArchiveFormat {
    /// All formats, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Zip, Self::Tar, Self::TarGz];

    const fn row(self) -> &'static Row {
        match self {
            Self::Zip => &ZIP,
            Self::Tar => &TAR,
            Self::TarGz => &TAR_GZ,
        }
    }

    /// Returns the identifier for machines: `zip`, `tar` or `tar_gz`.
    pub const fn key(self) -> &'static str {
        self.row().key
    }

    /// Returns the name with its article, such as `a zip archive`.
    pub const fn what(self) -> &'static str {
        self.row().what
    }

    /// Returns the line of the table of archives in Markdown: name, endings, how it is read.
    pub fn markdown(self) -> String {
        self.row().markdown()
    }

    /// Returns true if members may be compressed, so that reading them may inflate them.
    pub fn is_compressed(self) -> bool {
        !matches!(self, Self::Tar)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.row().name())
    }
}

impl fmt::Display for ArchiveFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.row().name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_have_the_lines_of_the_table() {
        let formats = Format::ALL.map(Format::markdown);
        let archives = ArchiveFormat::ALL.map(ArchiveFormat::markdown);
        for line in formats.iter().chain(&archives) {
            for (page, text) in [
                ("README.md", include_str!("../README.md")),
                ("src/lib.rs", include_str!("lib.rs")),
            ] {
                assert!(text.contains(line), "{page} lacks {line}");
            }
        }
    }
}
