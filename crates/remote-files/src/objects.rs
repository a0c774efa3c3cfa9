//! Finding, reading and writing small objects below an [`Outbox`], several at a time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use std::{fmt, io};

use bytes::Bytes;
use futures_util::future::join_all;
use object_store::path::Path;
use object_store::{Attributes, Error, GetOptions, PutMode, PutOptions, PutPayload};
use tokio::time::{sleep, timeout};

use crate::failure::is_passing;
use crate::outbox::{Outbox, SETTLE};
use crate::pages::each_page;
use crate::runtime::{interrupted, runtime};

/// The time in which a store must answer for the first time.
const FIRST_ANSWER: Duration = Duration::from_secs(30);
/// The time in which a request that may have no answer is repeated.
const PATIENCE: Duration = Duration::from_secs(90);
/// The pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(200);

/// What happens to an object of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It stays, and writing fails with `AlreadyExists`.
    Create,
    /// It is replaced.
    Replace,
}

/// An object as it was, to restore it.
#[derive(Clone)]
pub struct Stored {
    /// Its bytes.
    pub bytes: Bytes,
    pub(crate) attributes: Attributes,
}

impl Outbox {
    /// Returns those of `names` that are in a directory: objects, and directories with a slash at the end.
    ///
    /// # Errors
    /// If the store refuses to list, or there is no such bucket.
    pub fn existing(&self, directory: &str, names: &[&str]) -> io::Result<BTreeSet<String>> {
        let find = async {
            match timeout(FIRST_ANSWER, self.find(directory, names)).await {
                Ok(found) => found,
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the store does not answer",
                )),
            }
        };
        self.cancel.wait_for(find)?
    }

    async fn find(&self, directory: &str, names: &[&str]) -> io::Result<BTreeSet<String>> {
        let Some(pages) = &self.connected()?.pages else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let mut prefix = self.key(directory)?.to_string();
        if !prefix.is_empty() {
            prefix.push('/');
        }
        let mut found = BTreeSet::new();
        let listed = each_page(pages.as_ref(), &prefix, |page| {
            for object in page.objects {
                if let Some(name) = object.location.as_ref().strip_prefix(&prefix[..])
                    && names.contains(&name)
                {
                    found.insert(name.to_owned());
                }
            }
            for below in page.common_prefixes {
                let name = below.as_ref().strip_prefix(&prefix[..]).unwrap_or_default();
                let name = format!("{name}/");
                if names.contains(&&name[..]) {
                    found.insert(name);
                }
            }
        });
        if listed.await.map_err(|error| Self::failure(&error))? {
            return Ok(found);
        }
        // Too many names: only those that matter are asked for.
        let heads = names.iter().map(async |name| {
            let path = match directory {
                "" => (*name).to_owned(),
                directory => format!("{directory}/{name}"),
            };
            // Whether there is a directory is found out when it is listed.
            let is_there = name.ends_with('/') || self.head(&self.key(&path)?).await?.is_some();
            io::Result::Ok((name, is_there))
        });
        let found: io::Result<Vec<_>> = join_all(heads).await.into_iter().collect();
        let found = found?.into_iter().filter(|(_, is_there)| *is_there);
        Ok(found.map(|(name, _)| (*name).to_owned()).collect())
    }

    /// Returns the length of an object in bytes; `None` if it does not exist.
    ///
    /// # Errors
    /// If the store gives no answer, or an answer that does not show it.
    pub fn len(&self, path: &str) -> io::Result<Option<u64>> {
        let key = self.key(path)?;
        let found = self.cancel.wait_for(self.head(&key))??;
        Ok(found.map(|found| found.len))
    }

    /// Reads objects of at most `limit` bytes each.
    ///
    /// # Errors
    /// The path of the object, and `FileTooLarge` above the limit or an error of the store.
    pub fn read_all(
        &self,
        paths: &[String],
        limit: u64,
    ) -> Result<Vec<Option<Stored>>, (String, io::Error)> {
        let read = join_all(paths.iter().map(async |path| {
            let read = self.read(path, limit).await;
            read.map_err(|error| (path.clone(), error))
        }));
        let read = self.cancel.wait_for(read);
        let read = read.map_err(|error| (paths.first().cloned().unwrap_or_default(), error))?;
        read.into_iter().collect()
    }

    async fn read(&self, path: &str, limit: u64) -> io::Result<Option<Stored>> {
        let key = self.key(path)?;
        let started = Instant::now();
        loop {
            match self.read_once(&key, limit).await? {
                Ok(stored) => return Ok(stored),
                Err(error) if is_passing(&error) && started.elapsed() < PATIENCE => {
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(Self::failure(&error)),
            }
        }
    }

    async fn read_once(&self, key: &Path, limit: u64) -> io::Result<Result<Option<Stored>, Error>> {
        let answer = match self.store()?.get_opts(key, GetOptions::default()).await {
            Err(Error::NotFound { .. }) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error)),
            Ok(answer) => answer,
        };
        if answer.meta.size > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let attributes = answer.attributes.clone();
        let bytes = answer.bytes().await;
        Ok(bytes.map(|bytes| Some(Stored { bytes, attributes })))
    }

    /// Writes small objects, several at once, and waits for all of them. `written` is given the length of each.
    ///
    /// # Errors
    /// The path of an object, and `AlreadyExists` or an error of the store.
    pub fn put_all(
        &self,
        files: Vec<(String, Vec<u8>)>,
        mode: Mode,
        written: &(dyn Fn(u64) + Sync),
    ) -> Result<(), (String, io::Error)> {
        let puts = join_all(files.into_iter().map(async |(path, bytes)| {
            let len = bytes.len() as u64;
            match self.put(&path, Bytes::from(bytes), mode).await {
                Ok(()) => {
                    written(len);
                    Ok(())
                }
                Err(error) => Err((path, error)),
            }
        }));
        let runtime = runtime().map_err(|error| (String::new(), error))?;
        // All are awaited: what each did is known.
        runtime.block_on(puts).into_iter().collect()
    }

    async fn put(&self, path: &str, bytes: Bytes, mode: Mode) -> io::Result<()> {
        let key = self.key(path)?;
        let started = Instant::now();
        let mut put_mode = match mode {
            Mode::Create => PutMode::Create,
            Mode::Replace => PutMode::Overwrite,
        };
        loop {
            if self.cancel.is_cancelled() {
                return Err(interrupted());
            }
            let options = PutOptions {
                mode: put_mode.clone(),
                attributes: self.marked(),
                ..PutOptions::default()
            };
            let (store, to, body) = (
                self.store()?,
                key.clone(),
                PutPayload::from_bytes(bytes.clone()),
            );
            let put = self.settled(
                SETTLE,
                async move { store.put_opts(&to, body, options).await },
            );
            let Some(answer) = put.await else {
                return Err(interrupted());
            };
            let error = match answer {
                Ok(result) => {
                    self.remember(&key, result);
                    return Ok(());
                }
                Err(error) => error,
            };
            match &error {
                // A repeated request whose first answer was lost finds its own object.
                Error::AlreadyExists { .. } => match self.briefly(self.head(&key)).await? {
                    Some(found) if found.is_own => return Ok(()),
                    Some(_) => return Err(io::ErrorKind::AlreadyExists.into()),
                    None => {}
                },
                // A store without conditions, by a setting.
                Error::NotImplemented { .. } if put_mode == PutMode::Create => {
                    if self.briefly(self.head(&key)).await?.is_some() {
                        return Err(io::ErrorKind::AlreadyExists.into());
                    }
                    put_mode = PutMode::Overwrite;
                    continue;
                }
                error if is_passing(error) => {}
                error => return Err(Self::failure(error)),
            }
            if started.elapsed() > PATIENCE {
                return Err(Self::failure(&error));
            }
            sleep(PAUSE).await;
        }
    }

    /// Fails unless an object has this length and was written by this outbox.
    ///
    /// # Errors
    /// With what was found, or an error of the store.
    pub fn check(&self, path: &str, len: u64) -> io::Result<()> {
        let found = runtime()?.block_on(self.briefly(self.head(&self.key(path)?)))?;
        let what = match found {
            Some(found) if found.is_own && found.len == len => return Ok(()),
            Some(found) if found.is_own => {
                format!(
                    "the store has {} bytes of {len} after the upload",
                    found.len
                )
            }
            Some(_) => "it was replaced by another program after the upload".to_owned(),
            None => "it is not there after the upload".to_owned(),
        };
        Err(io::Error::other(what))
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({} bytes)", self.bytes.len())
    }
}
