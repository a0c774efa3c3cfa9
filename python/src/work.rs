//! Work on a thread of its own, while the calling thread looks for signals and reports progress.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use electra_convert::{Phase, Progress};
use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// How often the calling thread looks for signals and reports progress.
const LOOK: Duration = Duration::from_millis(50);
/// How long cancelled work may take to stop before it is left to itself. Work that has something to clean up is
/// waited for.
const GRACE: Duration = Duration::from_millis(300);

/// How far the work is.
#[derive(Default)]
struct State {
    is_cancelled: AtomicBool,
    /// True from the first phase that leaves files behind when the process ends.
    cleans_up: AtomicBool,
    /// The phases that the caller does not know to be finished, the present one last.
    phases: Mutex<Vec<PhaseState>>,
}

#[derive(Clone, Copy)]
struct PhaseState {
    phase: Phase,
    done: u64,
    total: u64,
    is_reported: bool,
}

impl Progress for State {
    fn begin(&self, phase: Phase, total: u64) {
        if phase == Phase::Converting {
            self.cleans_up.store(true, Ordering::SeqCst);
        }
        self.phases.lock().push(PhaseState {
            phase,
            done: 0,
            total,
            is_reported: total == 0,
        });
    }

    fn advance(&self, units: u64) -> ControlFlow<()> {
        if units > 0
            && let Some(present) = self.phases.lock().last_mut()
        {
            present.done += units;
            present.is_reported = false;
        }
        if self.is_cancelled.load(Ordering::SeqCst) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl State {
    /// Calls the callback for each phase with news.
    fn report(&self, callback: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let news: Vec<PhaseState> = {
            let mut phases = self.phases.lock();
            let news = phases.iter().filter(|phase| !phase.is_reported);
            let news = news.copied().collect();
            let present = phases.pop();
            phases.clear();
            phases.extend(present.map(|present| PhaseState {
                is_reported: true,
                ..present
            }));
            news
        };
        let Some(callback) = callback else {
            return Ok(());
        };
        for PhaseState {
            phase, done, total, ..
        } in news
        {
            callback.call1((phase.name(), done, total))?;
        }
        Ok(())
    }
}

/// Runs `work` without the GIL. `callback` is called on this thread, with the name of the phase, the units done and
/// their total.
///
/// # Errors
/// `KeyboardInterrupt` or the exception of another signal handler, and what `callback` raises; both cancel the work.
pub(crate) fn run<T: Send + 'static>(
    py: Python<'_>,
    callback: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&dyn Progress) -> T + Send + 'static,
) -> PyResult<T> {
    let state = Arc::new(State::default());
    let (sender, mut results) = mpsc::channel();
    let shared = Arc::clone(&state);
    thread::Builder::new()
        .name("electra-convert".into())
        .spawn(move || {
            // The caller may have given up waiting.
            let _ = sender.send(work(&*shared));
        })?;
    let mut failure: Option<(PyErr, Instant)> = None;
    loop {
        let received;
        (results, received) = py.detach(move || {
            let received = results.recv_timeout(LOOK);
            (results, received)
        });
        match received {
            Ok(result) => {
                if failure.is_none() {
                    py.check_signals().and_then(|()| state.report(callback))?;
                }
                return failure.map_or(Ok(result), |(error, _)| Err(error));
            }
            Err(RecvTimeoutError::Disconnected) => {
                let panicked = || PyRuntimeError::new_err("a thread of electra-convert panicked");
                return Err(failure.map_or_else(panicked, |(error, _)| error));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let looked = py.check_signals();
        match &failure {
            None => {
                if let Err(error) = looked.and_then(|()| state.report(callback)) {
                    state.is_cancelled.store(true, Ordering::SeqCst);
                    failure = Some((error, Instant::now()));
                }
            }
            Some((_, since)) => {
                if since.elapsed() > GRACE && !state.cleans_up.load(Ordering::SeqCst) {
                    return Err(failure.expect("there is one").0);
                }
            }
        }
    }
}
