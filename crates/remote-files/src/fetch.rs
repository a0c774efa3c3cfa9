//! Fetches one part of a file: resumes after a broken answer, gives up silent connections, notices a replaced file.
//!
//! `object_store` repeats a request that fails before its answer, and resumes an answer if it had an ETag. What is
//! added here: answers without an ETag are resumed too, if length and time of the last change are the same, and a
//! connection that delivers almost nothing is replaced by another one.

use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectMeta, ObjectStore};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use crate::failure::{io_error, is_passing, is_replaced, is_without_ranges};

/// How long requests are repeated without a byte of progress.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// The time in which an answer must deliver [`LEAST`] bytes or end.
const WINDOW: Duration = Duration::from_secs(15);
/// Bytes: fewer in [`WINDOW`] come from a connection that is stuck.
const LEAST: u64 = 64 << 10;
/// How often a file is fetched again from its start.
const RESTARTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Which file a name stood for when it was first read.
#[derive(Debug, Default)]
pub(crate) struct Identity(Mutex<Option<Known>>);

#[derive(Clone, Debug, PartialEq)]
struct Known {
    len: u64,
    e_tag: Option<String>,
    modified: DateTime<Utc>,
}

impl Identity {
    /// Returns the ETag for the header `If-Match`, which a weak one never matches.
    pub(crate) fn e_tag(&self) -> Option<String> {
        let e_tag = self.0.lock().as_ref()?.e_tag.clone();
        e_tag.filter(|e_tag| !e_tag.starts_with("W/"))
    }

    pub(crate) fn is_known(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Fails if an answer is about another file than the answers before.
    pub(crate) fn check(&self, found: &ObjectMeta, len: u64) -> io::Result<()> {
        let found = Known {
            len: found.size,
            e_tag: found.e_tag.clone(),
            modified: found.last_modified,
        };
        let mut known = self.0.lock();
        let known = known.get_or_insert_with(|| Known {
            len,
            ..found.clone()
        });
        let is_same = known.len == found.len
            && match (&known.e_tag, &found.e_tag) {
                (Some(known), Some(found)) => known == found,
                (None, None) => known.modified == found.modified,
                _ => false,
            };
        if is_same { Ok(()) } else { Err(replaced()) }
    }
}

/// Returns the error for a file that is another one than before.
pub(crate) fn replaced() -> io::Error {
    io::Error::other("it was replaced while it was read; start again when it no longer changes")
}

/// The reason why a part was not fetched.
pub(crate) enum Failure {
    /// The server sends whole files only.
    NoRanges,
    Io(io::Error),
}

/// One file of a store.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) store: &'a dyn ObjectStore,
    pub(crate) path: &'a Path,
    pub(crate) len: u64,
    pub(crate) identity: &'a Identity,
}

impl Source<'_> {
    /// Fetches a range and passes its bytes to `sink`, each with its offset in the file, in order.
    pub(crate) async fn fetch(
        &self,
        range: Range<u64>,
        mut sink: impl FnMut(u64, &[u8]) -> io::Result<()> + Send,
    ) -> Result<(), Failure> {
        let mut at = range.start;
        let mut progress = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut restarts = 0;
        loop {
            let before = at;
            let error = match self.attempt(&mut at, range.end, &mut sink).await {
                Ok(()) => return Ok(()),
                Err(Attempt::Sink(error)) => return Err(Failure::Io(error)),
                Err(Attempt::Store(error)) if is_without_ranges(&error) => {
                    if range != (0..self.len) {
                        return Err(Failure::NoRanges);
                    }
                    if restarts == RESTARTS {
                        let what = "the server sends no ranges, and the transfer of the whole file broke off each \
                                    time; copy it by other means";
                        return Err(Failure::Io(io::Error::other(what)));
                    }
                    // The whole file can only be fetched again from its start.
                    restarts += 1;
                    at = range.start;
                    progress = Instant::now();
                    io_error(&error)
                }
                Err(Attempt::Store(error)) if !is_passing(&error) => {
                    let error = if is_replaced(&error) {
                        replaced()
                    } else {
                        io_error(&error)
                    };
                    return Err(Failure::Io(error));
                }
                Err(Attempt::Store(error)) => io_error(&error),
                Err(Attempt::Stuck) => io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!(
                        "the server sends fewer than {LEAST} bytes in {} s",
                        WINDOW.as_secs()
                    ),
                ),
            };
            if at > before {
                progress = Instant::now();
                pause = FIRST_PAUSE;
            } else if progress.elapsed() > PATIENCE {
                return Err(Failure::Io(error));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(
        &self,
        at: &mut u64,
        end: u64,
        sink: &mut (impl FnMut(u64, &[u8]) -> io::Result<()> + Send),
    ) -> Result<(), Attempt> {
        let whole = *at == 0 && end == self.len;
        let options = GetOptions {
            if_match: self.identity.e_tag(),
            range: (!whole).then_some(GetRange::Bounded(*at..end)),
            ..GetOptions::default()
        };
        let answer = self
            .store
            .get_opts(self.path, options)
            .await
            .map_err(Attempt::Store)?;
        self.identity
            .check(&answer.meta, self.len)
            .map_err(Attempt::Sink)?;
        let mut body = answer.into_stream();
        let mut window = Instant::now() + WINDOW;
        let mut window_start = *at;
        while *at < end {
            let chunk: Option<Result<Bytes, Error>> = timeout_at(window, body.next())
                .await
                .map_err(|_| Attempt::Stuck)?;
            let Some(chunk) = chunk else {
                return Err(Attempt::Store(cut_off()));
            };
            let chunk = chunk.map_err(Attempt::Store)?;
            let left = usize::try_from(end - *at).unwrap_or(usize::MAX);
            let chunk = &chunk[..chunk.len().min(left)];
            sink(*at, chunk).map_err(Attempt::Sink)?;
            *at += chunk.len() as u64;
            if Instant::now() >= window || *at - window_start >= LEAST {
                if *at - window_start < LEAST && *at < end {
                    return Err(Attempt::Stuck);
                }
                window = Instant::now() + WINDOW;
                window_start = *at;
            }
        }
        Ok(())
    }
}

/// Why an attempt ended early.
enum Attempt {
    Store(Error),
    Stuck,
    /// The bytes could not be kept, or are those of another file.
    Sink(io::Error),
}

fn cut_off() -> Error {
    Error::Generic {
        store: "remote",
        source: "the answer ends early".into(),
    }
}
