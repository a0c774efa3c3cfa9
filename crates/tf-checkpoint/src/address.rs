//! Refuses URLs, such as `hdfs://host/model.ckpt-400`, that are given in place of paths and cannot be read.
//!
//! `Path` would take `hdfs:` for the name of a directory. The error gives the command that copies the files. Which
//! URLs can be read, and written to, depends on the feature `cloud`.

use std::ffi::OsStr;
use std::path::Path;

use crate::error::Error;
use crate::file_kind::FileKind;

/// What a path is given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Use {
    /// A checkpoint to read; the path may be a prefix.
    Checkpoint,
    /// A file or directory to read.
    Input,
    /// A directory to write.
    Output,
}

/// Scheme, and the commands that copy a checkpoint, copy a file, and upload a directory, in the order of
/// [`Use`]. `{}` stands for the URL, `{above}` for it up to its last slash and `{name}` for the rest, quoted for a
/// shell.
const COMMANDS: &[(&str, [&str; 3])] = &[
    (
        "gs",
        [
            "gsutil cp -r {}'*' .",
            "gsutil cp {} .",
            "gsutil cp -r DIR {}",
        ],
    ),
    (
        "s3",
        [
            "aws s3 cp --recursive {above} . --exclude '*' --include {name}'*'",
            "aws s3 cp {} .",
            "aws s3 cp --recursive DIR {}",
        ],
    ),
    (
        "hdfs",
        [
            "hdfs dfs -get {}'*' .",
            "hdfs dfs -get {} .",
            "hdfs dfs -put DIR {}",
        ],
    ),
    ("http", ["curl -LO {}", "curl -LO {}", "curl -T FILE {}"]),
    ("https", ["curl -LO {}", "curl -LO {}", "curl -T FILE {}"]),
];

/// The schemes that the feature `cloud` reads. All but those of web servers it also writes to.
const CLOUD: [&str; 8] = ["gs", "s3", "s3a", "az", "abfs", "abfss", "http", "https"];

/// Returns a web address without its query, which may be a signature; other paths as they are. Messages name this path.
///
/// ```
/// # use std::path::Path;
/// # use tf_checkpoint::address::without_query;
/// assert_eq!(without_query(Path::new("https://h/a.zip?sig=x")), Path::new("https://h/a.zip"));
/// assert_eq!(without_query(Path::new("gs://b/a?b")), Path::new("gs://b/a?b"));
/// ```
pub fn without_query(path: &Path) -> &Path {
    let is_web = |scheme: &str| {
        ["http", "https"]
            .iter()
            .any(|web| scheme.eq_ignore_ascii_case(web))
    };
    let text = path.to_str().unwrap_or_default();
    match (text.split_once("://"), text.split_once(['?', '#'])) {
        (Some((scheme, _)), Some((address, _))) if is_web(scheme) => Path::new(address),
        _ => path,
    }
}

/// Fails if `path` is a URL, except an output in a bucket (feature `cloud`).
///
/// ```
/// # use std::path::Path;
/// use tf_checkpoint::address::{self, Use};
///
/// let error = address::refuse(Path::new("gs://bucket/model.ckpt-400"), Use::Checkpoint).unwrap_err();
/// assert!(error.to_string().contains("gsutil cp -r gs://bucket/model.ckpt-400'*' ."));
/// assert!(address::refuse(Path::new("C:/model.ckpt-400"), Use::Checkpoint).is_ok());
/// ```
///
/// # Errors
/// [`Error::Unsupported`] of [`FileKind::Address`], with the command that copies the files.
pub fn refuse(path: &Path, given_as: Use) -> Result<(), Error> {
    let path = without_query(path);
    let text = path.to_string_lossy();
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(());
    };
    #[cfg(feature = "cloud")]
    if given_as == Use::Output && is_in_bucket(&text)? {
        return Ok(());
    }
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(is_scheme) {
        return Ok(());
    }
    let advice = if scheme.eq_ignore_ascii_case("file") {
        let path = rest.strip_prefix("localhost").unwrap_or(rest);
        format!("give the path, {}", quoted(path.as_ref()))
    } else {
        let row = COMMANDS
            .iter()
            .find(|(known, _)| scheme.eq_ignore_ascii_case(known));
        let command = row.map_or_else(String::new, |(_, commands)| {
            let (above, name) = match rest.rsplit_once('/') {
                Some((above, name)) => (format!("{scheme}://{above}/"), name),
                None => (format!("{text}/"), ""),
            };
            let mut command = commands[given_as as usize].to_owned();
            for (field, value) in [("{}", &text[..]), ("{above}", &above), ("{name}", name)] {
                command = command.replace(field, &quoted(value.as_ref()));
            }
            format!(" ({command})")
        });
        let build = advice_to_build(scheme, given_as);
        match given_as {
            Use::Checkpoint => format!("copy its files here first{command}{build}"),
            Use::Input => format!("copy it here first{command}{build}"),
            Use::Output => {
                format!("write into a directory on this disk and upload that{command}{build}")
            }
        }
    };
    let what = match given_as {
        Use::Output => "an address, which cannot be written to",
        Use::Checkpoint | Use::Input => "an address, which cannot be read",
    };
    Err(Error::Unsupported {
        path: path.to_owned(),
        kind: FileKind::Address,
        what: what.into(),
        advice,
        checkpoint: None,
    })
}

/// As [`refuse`] for a checkpoint, except for URLs that the feature `cloud` reads.
///
/// # Errors
/// As [`refuse`].
pub fn refuse_unread(path: &Path) -> Result<(), Error> {
    let text = path.to_string_lossy();
    let is_read = |scheme: &str| {
        let mut read = CLOUD.iter();
        cfg!(feature = "cloud") && read.any(|known| scheme.eq_ignore_ascii_case(known))
    };
    match text.split_once("://") {
        Some((scheme, _)) if is_read(scheme) => Ok(()),
        _ => refuse(path, Use::Checkpoint),
    }
}

/// Returns true for the URL of a directory in a bucket.
#[cfg(feature = "cloud")]
fn is_in_bucket(text: &str) -> Result<bool, Error> {
    use remote_files::Address;
    use remote_files::address::Scheme;

    match Address::parse(text) {
        None => Ok(false),
        Some(Ok(address)) => Ok(address.scheme() != Scheme::Http),
        Some(Err(error)) => Err(unusable(error)),
    }
}

/// Returns the error for an address that cannot be split. It is not shown: it may contain a password.
#[cfg(feature = "cloud")]
pub(crate) fn unusable(error: remote_files::address::AddressError) -> Error {
    Error::Unsupported {
        path: std::path::PathBuf::from("the address"),
        kind: FileKind::Address,
        what: error.to_string(),
        advice: "give SCHEME://BUCKET/PATH".to_owned(),
        checkpoint: None,
    }
}

/// Returns what a build with the feature `cloud` could do; empty if it could not, or this is one.
fn advice_to_build(scheme: &str, given_as: Use) -> &'static str {
    let is_known = CLOUD.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let is_web = scheme.to_ascii_lowercase().starts_with("http");
    match given_as {
        _ if cfg!(feature = "cloud") || !is_known => "",
        Use::Output if is_web => "",
        Use::Output => {
            ", or build the program with cargo install --path . --features cloud, which writes to buckets"
        }
        Use::Checkpoint | Use::Input => {
            ", or build the program with cargo install --path . --features cloud, which reads it"
        }
    }
}

/// Quotes an argument for a POSIX shell, if it needs quotes.
///
/// ```
/// # use tf_checkpoint::address::quoted;
/// assert_eq!(quoted("model.ckpt-400".as_ref()), "model.ckpt-400");
/// assert_eq!(quoted("my model.ckpt".as_ref()), "'my model.ckpt'");
/// ```
pub fn quoted(argument: &OsStr) -> String {
    let text = argument.to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_distinguished_from_paths() {
        for path in [
            "gs", "a:/b", "./gs://b", "://x", "1a://b", "a b://c", "C:/x",
        ] {
            assert!(refuse(Path::new(path), Use::Input).is_ok(), "{path}");
        }
        for (address, given_as, words) in [
            (
                "gs://b/m-4",
                Use::Checkpoint,
                "gsutil cp -r gs://b/m-4'*' .",
            ),
            (
                "s3://b",
                Use::Checkpoint,
                "aws s3 cp --recursive s3://b/ . --exclude '*' --include '''*'",
            ),
            (
                "s3://b/a b/m-4",
                Use::Checkpoint,
                "aws s3 cp --recursive 's3://b/a b/' . --exclude '*' --include m-4'*'",
            ),
            (
                "s3://b/my v.txt",
                Use::Input,
                "aws s3 cp 's3://b/my v.txt' .",
            ),
            #[cfg(not(feature = "cloud"))]
            (
                "GS://b/out",
                Use::Output,
                "gsutil cp -r DIR GS://b/out), or build",
            ),
            ("https://b/out", Use::Output, "curl -T FILE https://b/out"),
            ("file:///a/b", Use::Input, "give the path, /a/b"),
            ("wasbs://c@d/e", Use::Input, "copy it here first"),
        ] {
            let error = refuse(Path::new(address), given_as)
                .unwrap_err()
                .to_string();
            assert!(error.contains(words) && error.contains(address), "{error}");
        }
    }

    #[test]
    fn messages_name_addresses_without_their_queries() {
        for given_as in [Use::Checkpoint, Use::Input, Use::Output] {
            let address = Path::new("HTTPS://h/m.zip?sig=secret");
            let error = refuse(address, given_as).unwrap_err().to_string();
            assert!(
                error.contains("HTTPS://h/m.zip") && !error.contains("secret"),
                "{error}"
            );
        }
        assert_eq!(without_query(Path::new("a?b")), Path::new("a?b"));
    }

    #[test]
    fn unknown_schemes_are_refused_with_every_feature() {
        assert!(refuse_unread(Path::new("hdfs://h/m-4")).is_err());
        assert!(refuse_unread(Path::new("runs/m-4")).is_ok());
        let is_read = refuse_unread(Path::new("S3://b/m-4")).is_ok();
        assert_eq!(is_read, cfg!(feature = "cloud"));
    }

    #[test]
    fn quotes_only_what_a_shell_would_take_apart() {
        assert_eq!(
            quoted("runs/model.ckpt-400".as_ref()),
            "runs/model.ckpt-400"
        );
        assert_eq!(quoted("my runs".as_ref()), "'my runs'");
        assert_eq!(quoted("it's".as_ref()), r"'it'\''s'");
        assert_eq!(quoted("".as_ref()), "''");
    }
}
