//! The progress bar, on standard error if it is a terminal, and signals such as Ctrl-C.

use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::{Phase, Progress};
use anyhow::Context as _;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use signal_hook::flag;

use super::sys;

/// The signal that was received, if any.
///
/// A signal ends the process at once, as it does by default, unless there is something to clean up
/// ([`hold`](Self::hold)). Then the first signal is only remembered, and the work stops as soon as it
/// next reports progress; a second one ends the process at once.
#[derive(Debug)]
pub(crate) struct Signals {
    received: Arc<AtomicUsize>,
    ends_process: Arc<AtomicBool>,
}

impl Signals {
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let signals = Self::not_caught();
        for &signal in sys::IGNORED {
            flag::register(signal, Arc::default()).context("cannot listen for signals")?;
        }
        for &signal in sys::SIGNALS {
            if !is_ignored(signal) {
                signals
                    .register(signal)
                    .context("cannot listen for signals")?;
            }
        }
        Ok(signals)
    }

    /// Catches nothing: a process that runs other code keeps its own handlers.
    pub(crate) fn not_caught() -> Self {
        Self {
            received: Arc::new(AtomicUsize::new(0)),
            ends_process: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Registers three actions, which run in this order when the signal arrives.
    fn register(&self, signal: i32) -> std::io::Result<()> {
        flag::register_conditional_default(signal, Arc::clone(&self.ends_process))?;
        let number = usize::try_from(signal).expect("signals are positive");
        flag::register_usize(signal, Arc::clone(&self.received), number)?;
        flag::register(signal, Arc::clone(&self.ends_process))?;
        Ok(())
    }

    /// Defers the next signal: it no longer ends the process.
    pub(crate) fn hold(&self) {
        self.ends_process.store(false, Ordering::Relaxed);
    }

    /// Makes the next signal end the process again.
    pub(crate) fn release(&self) {
        self.ends_process.store(true, Ordering::Relaxed);
    }

    /// Ends the process as the received signal would have done; does nothing if none was received.
    pub(crate) fn terminate(&self) {
        if let Ok(signal) = i32::try_from(self.received.load(Ordering::Relaxed))
            && signal != 0
        {
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    }

    /// Returns the exit code of a process that the received signal ends, as shells count it; `None` if there was none.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        let signal = self.received.load(Ordering::Relaxed);
        u8::try_from(128 + signal).ok().filter(|_| signal != 0)
    }

    fn has_received(&self) -> bool {
        self.received.load(Ordering::Relaxed) != 0
    }
}

/// True when this process was started with the signal ignored, as by `nohup`. It must stay ignored.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default();
    mask & (1 << (signal - 1)) != 0
}

/// Shows the phase and how much of it is done.
#[derive(Debug)]
pub(crate) struct Bar<'a> {
    shown: ProgressBar,
    /// The signals of a command that must clean up.
    signals: Option<&'a Signals>,
    holds_signals: AtomicBool,
}

impl<'a> Bar<'a> {
    /// Creates a bar; it is hidden if standard error is not a terminal, or on request.
    pub(crate) fn new(hidden: bool, signals: Option<&'a Signals>) -> Self {
        let shown = if hidden {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(0)
        };
        Self {
            shown,
            signals,
            holds_signals: AtomicBool::new(false),
        }
    }
}

impl Bar<'_> {
    /// Prints a line on standard error, above the bar.
    pub(crate) fn line(&self, line: &str) {
        self.shown.suspend(|| {
            let _ = writeln!(anstream::stderr(), "{line}");
        });
    }
}

impl Progress for Bar<'_> {
    fn begin(&self, phase: Phase, total: u64) {
        if let (Phase::Converting, Some(signals)) = (phase, self.signals)
            && !self.holds_signals.swap(true, Ordering::Relaxed)
        {
            signals.hold();
        }
        let style = if phase == Phase::Opening {
            "{prefix:10} {spinner}{msg}"
        } else if phase.is_in_bytes() {
            "{prefix:10} {bar:30} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left{msg}"
        } else {
            "{prefix:10} {bar:30} {pos} of {len}  {eta} left{msg}"
        };
        let style = ProgressStyle::with_template(style).expect("a valid template");
        self.shown.set_style(style);
        self.shown.set_prefix(phase.name());
        self.shown.set_length(total);
        self.shown.reset();
    }

    fn fetched(&self, bytes: u64) {
        let message = format!("  {} fetched", HumanBytes(bytes));
        self.shown.set_message(message);
    }

    fn advance(&self, units: u64) -> ControlFlow<()> {
        self.shown.inc(units);
        if self.signals.is_some_and(Signals::has_received) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.shown.finish_and_clear();
    }
}
