//! The threads that wait for the network.
//!
//! One runtime serves the whole process; nothing but this crate uses it.

use std::future::Future;
use std::io;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// Two threads move more bytes than a network of 10 Gbit/s.
const THREADS: usize = 2;

/// Returns the runtime, which is started at the first use.
pub(crate) fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    // Fails if another provider was installed first, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let started = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("remote-files")
        .enable_all()
        .build()?;
    Ok(RUNTIME.get_or_init(|| started))
}

/// Cancels all that waits for a bucket.
#[derive(Debug)]
pub(crate) struct Cancel(watch::Sender<bool>);

impl Default for Cancel {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Cancel {
    pub(crate) fn cancel(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the cancellation.
    pub(crate) async fn cancelled(&self) {
        let _ = self.0.subscribe().wait_for(|cancelled| *cancelled).await;
    }

    /// Runs `work` on the runtime and waits for it.
    ///
    /// # Errors
    /// `Interrupted` if it was cancelled first.
    pub(crate) fn wait_for<T>(&self, work: impl Future<Output = T>) -> io::Result<T> {
        let mut cancelled = self.0.subscribe();
        runtime()?.block_on(async {
            tokio::select! {
                _ = cancelled.wait_for(|cancelled| *cancelled) => Err(interrupted()),
                done = work => Ok(done),
            }
        })
    }
}

pub(crate) fn interrupted() -> io::Error {
    // Not ErrorKind::Interrupted, after which loops of the standard library try again.
    io::Error::other("interrupted")
}
