//! Positioned reads of one file.
//!
//! Parts are fetched into an unnamed temporary file, at their own offsets, and read from there: memory does not grow
//! with the file, and a byte that is read twice is fetched once.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, fmt, io};

use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::fetch::{Failure, Identity, Source};
use crate::parts::Parts;
use crate::runtime::{Cancel, interrupted, runtime};
use crate::sys;

/// The most requests of a bucket at once. More do not help on a network where one takes 40 ms.
pub(crate) const REQUESTS: usize = 16;
/// How often a waiting reader looks for a cancellation.
const LOOK: std::time::Duration = std::time::Duration::from_millis(100);

/// The bytes that this process has fetched.
static FETCHED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of bytes of all files that this process has fetched so far.
pub fn fetched_bytes() -> u64 {
    FETCHED.load(Ordering::Relaxed)
}

/// A file that is fetched in parts.
pub struct RemoteFile {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What a file needs of its bucket.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) cancel: Arc<Cancel>,
    /// The number of bytes that were fetched into temporary files.
    pub(crate) fetched: Arc<AtomicU64>,
}

struct Shared {
    client: Client,
    path: Path,
    len: u64,
    identity: Arc<Identity>,
    state: Mutex<State>,
    /// Held while the temporary file is written: on Linux threads that wait for the kernel's lock on a file spin.
    writing: Mutex<()>,
    changed: Condvar,
}

struct State {
    parts: Parts,
    /// The temporary file, from the first part on.
    file: Option<Arc<File>>,
    /// The number of tasks that fetch parts.
    running: usize,
    failed: Option<(io::ErrorKind, String)>,
}

impl RemoteFile {
    pub(crate) fn new(client: Client, path: Path, len: u64) -> Self {
        let shared = Shared {
            client,
            path,
            len,
            identity: Arc::default(),
            state: Mutex::new(State {
                parts: Parts::new(len),
                file: None,
                running: 0,
                failed: None,
            }),
            writing: Mutex::default(),
            changed: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
            tasks: Mutex::default(),
        }
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.shared.identity
    }

    /// Returns the length in bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an empty file is read as any other"
    )]
    pub fn len(&self) -> u64 {
        self.shared.len
    }

    /// Begins to fetch ranges that will be read, in this order and before those that were announced earlier or that reads
    /// wait for. Returns at once; an error is reported by the reads.
    pub fn prepare(&self, ranges: &[Range<u64>]) {
        let mut state = self.shared.state.lock();
        let ranges: Vec<Range<u64>> = ranges
            .iter()
            .map(|range| range.start.min(self.shared.len)..range.end.min(self.shared.len))
            .collect();
        state.parts.add(&ranges);
        self.start(&mut state);
    }

    /// Returns true if a read would wait because an announced range is not fetched yet. After a failure or a
    /// cancellation it is false, because a read returns the error at once.
    pub fn is_pending(&self, range: &Range<u64>) -> bool {
        let state = self.shared.state.lock();
        let ends = state.failed.is_some() || self.shared.client.cancel.is_cancelled();
        !ends && !state.parts.is_present(range) && state.parts.is_planned(range)
    }

    /// Fills `buf` with the bytes from `offset` on. What was not announced is fetched first.
    ///
    /// # Errors
    /// `UnexpectedEof` beyond the end, an error of the store or the network, or of the temporary file.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        let end = end.filter(|&end| end <= self.shared.len);
        let range = offset..end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if range.is_empty() {
            return Ok(());
        }
        let mut state = self.shared.state.lock();
        if !state.parts.is_present(&range) {
            state.parts.demand(&range);
            self.start(&mut state);
        }
        while !state.parts.is_present(&range) {
            if let Some((kind, what)) = &state.failed {
                return Err(io::Error::new(*kind, what.clone()));
            }
            if self.shared.client.cancel.is_cancelled() {
                return Err(interrupted());
            }
            self.shared.changed.wait_for(&mut state, LOOK);
        }
        let file = state.file.clone().ok_or(io::ErrorKind::UnexpectedEof)?;
        drop(state);
        sys::read_exact_at(&file, buf, offset)
    }

    /// Fills `buf` with the bytes from `offset` on, by one request, and keeps nothing.
    ///
    /// # Errors
    /// As [`read_exact_at`](Self::read_exact_at).
    pub fn read_once(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let shared = &self.shared;
        let end = offset.checked_add(buf.len() as u64);
        let end = end.filter(|&end| end <= shared.len);
        let range = offset..end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if shared.state.lock().parts.is_planned(&range) {
            return self.read_exact_at(buf, offset);
        }
        let sink = |at: u64, bytes: &[u8]| {
            let start = usize::try_from(at - offset).expect("within the buffer");
            buf[start..start + bytes.len()].copy_from_slice(bytes);
            FETCHED.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(())
        };
        let fetched = shared
            .client
            .cancel
            .wait_for(shared.source().fetch(range, sink))?;
        match fetched {
            Ok(()) => Ok(()),
            Err(Failure::NoRanges) => self.read_exact_at(buf, offset),
            Err(Failure::Io(error)) => Err(error),
        }
    }

    /// Starts tasks for the parts in the queue.
    fn start(&self, state: &mut State) {
        if state.failed.is_some() {
            return;
        }
        let started = self.try_start(state);
        if let Err(error) = started {
            state.failed = Some((error.kind(), error.to_string()));
        }
    }

    fn try_start(&self, state: &mut State) -> io::Result<()> {
        if state.file.is_none() {
            state.file = Some(Arc::new(temporary_file()?));
        }
        let runtime = runtime()?;
        let mut tasks = self.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        while state.running < REQUESTS {
            let Some(part) = state.parts.next() else {
                break;
            };
            state.running += 1;
            tasks.push(runtime.spawn(Arc::clone(&self.shared).run(part)));
        }
        Ok(())
    }
}

impl Drop for RemoteFile {
    fn drop(&mut self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
    }
}

impl Shared {
    fn source(&self) -> Source<'_> {
        Source {
            store: self.client.store.as_ref(),
            path: &self.path,
            len: self.len,
            identity: &self.identity,
        }
    }

    /// Fetches a part, then those in the queue.
    async fn run(self: Arc<Self>, first: Range<u64>) {
        let mut part = Some(first);
        while let Some(range) = part {
            let fetched = self.fetch(range.clone()).await;
            let mut state = self.state.lock();
            match fetched {
                Ok(true) => state.parts.finish_all(),
                Ok(false) => state.parts.finish(range.start),
                Err(error) => {
                    state
                        .failed
                        .get_or_insert((error.kind(), error.to_string()));
                }
            }
            part = match state.failed {
                Some(_) => None,
                None => state.parts.next(),
            };
            if part.is_none() {
                state.running -= 1;
            }
            self.changed.notify_all();
        }
    }

    /// Fetches a part; returns true if that needed the whole file.
    async fn fetch(&self, range: Range<u64>) -> io::Result<bool> {
        let file = self
            .state
            .lock()
            .file
            .clone()
            .expect("created before the first part");
        let sink = |at: u64, bytes: &[u8]| {
            let alone = self.writing.lock();
            sys::write_all_at(&file, bytes, at).map_err(writing)?;
            drop(alone);
            let fetched = &self.client.fetched;
            fetched.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            FETCHED.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(())
        };
        let permit = self.client.requests.acquire().await.expect("never closed");
        let fetched = self.source().fetch(range, sink).await;
        drop(permit);
        match fetched {
            Ok(()) => Ok(false),
            Err(Failure::Io(error)) => Err(error),
            Err(Failure::NoRanges) => {
                // One task fetches the file for all.
                let every = u32::try_from(REQUESTS).expect("a small number");
                let _all = self
                    .client
                    .requests
                    .acquire_many(every)
                    .await
                    .expect("never closed");
                if self.state.lock().parts.is_present(&(0..self.len)) {
                    return Ok(true);
                }
                match self.source().fetch(0..self.len, sink).await {
                    Ok(()) => Ok(true),
                    Err(Failure::Io(error)) => Err(error),
                    Err(Failure::NoRanges) => {
                        Err(io::Error::other("the server sends no ranges of a file"))
                    }
                }
            }
        }
    }
}

fn temporary_file() -> io::Result<File> {
    let folder = env::temp_dir();
    tempfile::tempfile_in(&folder).map_err(|error| {
        let what = format!("no temporary file in {}: {error}", folder.display());
        io::Error::new(error.kind(), what)
    })
}

/// Turns an error of writing the temporary file into one that states what to do.
fn writing(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            let folder = env::temp_dir();
            let what = format!(
                "the directory for temporary files, {}, is full; set TMPDIR (on Windows TMP) to one with space for \
                 the model",
                folder.display()
            );
            io::Error::new(error.kind(), what)
        }
        _ => error,
    }
}

impl fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteFile")
            .field(&self.shared.path.as_ref())
            .finish()
    }
}
