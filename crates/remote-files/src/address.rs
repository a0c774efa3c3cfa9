//! The parts of a URL that names a file or a directory in a bucket, or behind a web address.

use std::fmt;

/// The kind of store that a URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Google Cloud Storage.
    Gcs,
    /// Amazon S3, and stores with its interface.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// A web server.
    Http,
}

const SCHEMES: &[(&str, Scheme)] = &[
    ("gs", Scheme::Gcs),
    ("s3", Scheme::S3),
    ("s3a", Scheme::S3),
    ("az", Scheme::Azure),
    ("abfs", Scheme::Azure),
    ("abfss", Scheme::Azure),
    ("http", Scheme::Http),
    ("https", Scheme::Http),
];

/// A URL in its parts.
///
/// ```
/// use remote_files::Address;
///
/// let address = Address::parse("gs://bucket/run/model.ckpt-400").unwrap().unwrap();
/// assert_eq!(address.root(), "gs://bucket");
/// assert_eq!(address.path(), "run/model.ckpt-400");
/// assert!(Address::parse("C:/model.ckpt-400").is_none());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    scheme: Scheme,
    root: String,
    path: String,
    query: Option<String>,
}

/// The reason why a URL cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no bucket, container or host.
    #[error("one that names no bucket, container or host")]
    NoHost,
    /// A password would be visible in every message.
    #[error("one that contains a user name or password, which is not used; leave it out")]
    UserInfo,
}

impl Address {
    /// Splits a URL of one of the supported schemes; `None` for everything else, such as a path.
    ///
    /// # Errors
    /// If the URL has no host, or contains a password.
    pub fn parse(text: &str) -> Option<Result<Self, AddressError>> {
        let (name, rest) = text.split_once("://")?;
        let mut schemes = SCHEMES.iter();
        let &(name, scheme) = schemes.find(|(known, _)| name.eq_ignore_ascii_case(known))?;
        Some(Self::of(name, scheme, rest))
    }

    fn of(name: &str, scheme: Scheme, rest: &str) -> Result<Self, AddressError> {
        // `?` and `#` are parts of the names in a bucket.
        let (rest, query) = match (scheme, rest.split_once('?')) {
            (Scheme::Http, Some((rest, query))) => (rest, Some(query.to_owned())),
            _ => (rest, None),
        };
        let rest = match scheme {
            Scheme::Http => rest.split_once('#').map_or(rest, |(rest, _)| rest),
            _ => rest,
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        // The user of `abfss://container@account.dfs.core.windows.net` is the container.
        if host.contains('@') && scheme != Scheme::Azure {
            return Err(AddressError::UserInfo);
        }
        Ok(Self {
            scheme,
            root: format!("{name}://{host}"),
            path: path.trim_end_matches('/').to_owned(),
            query,
        })
    }

    /// Returns true for another spelling of the same object: `s3a://` for `s3://`. Containers of one name are taken for
    /// the same, whatever their account.
    pub fn is_same(&self, other: &Self) -> bool {
        let place = |address: &Self| {
            let host = address.root.split_once("://").map_or("", |(_, host)| host);
            match address.scheme {
                Scheme::Azure => host.split('@').next().unwrap_or(host).to_owned(),
                _ => host.to_owned(),
            }
        };
        self.scheme == other.scheme && self.path == other.path && place(self) == place(other)
    }

    /// Returns the kind of store.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the scheme and the bucket, container or host, without a slash at the end.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Returns the path below the root, without slashes at either end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns what follows a question mark in a web address. It may be a signature, which is a secret.
    pub(crate) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }
}

/// The URL without its query.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)?;
        if self.path.is_empty() {
            return Ok(());
        }
        write!(f, "/{}", self.path)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split() {
        for (text, scheme, root, path) in [
            ("gs://b", Scheme::Gcs, "gs://b", ""),
            ("GS://b/run/", Scheme::Gcs, "gs://b", "run"),
            ("s3://b/a?b#c", Scheme::S3, "s3://b", "a?b#c"),
            (
                "abfss://c@a.dfs.core.windows.net/m",
                Scheme::Azure,
                "abfss://c@a.dfs.core.windows.net",
                "m",
            ),
            (
                "https://h:81/a/b.zip?sig=x#y",
                Scheme::Http,
                "https://h:81",
                "a/b.zip",
            ),
        ] {
            let address = Address::parse(text).unwrap().unwrap();
            assert_eq!(
                (address.scheme(), address.root(), address.path()),
                (scheme, root, path),
                "{text}"
            );
        }
    }

    #[test]
    fn a_query_is_kept_and_never_shown() {
        let address = Address::parse("https://h/b.zip?sig=secret")
            .unwrap()
            .unwrap();
        assert_eq!(address.query(), Some("sig=secret"));
        assert_eq!(address.to_string(), "https://h/b.zip");
        assert!(!format!("{address:?}").contains("secret"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for path in ["gs", "a:/b", "./gs://b", "hdfs://b/c", "file:///a"] {
            assert!(Address::parse(path).is_none(), "{path}");
        }
        assert_eq!(Address::parse("gs:///a"), Some(Err(AddressError::NoHost)));
        assert_eq!(
            Address::parse("https://u:p@h/a"),
            Some(Err(AddressError::UserInfo))
        );
    }
}
