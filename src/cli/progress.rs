//! A progress bar on standard error when it is a terminal, and Ctrl-C.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use electra_convert::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The signal that arrived, if any. While this exists, signals do not kill the process: the work
/// stops at the next tensor and cleans up after itself.
#[derive(Debug)]
pub(crate) struct Signals(Arc<AtomicUsize>);

impl Signals {
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let received = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let number = usize::try_from(signal).expect("signals are positive");
            signal_hook::flag::register_usize(signal, Arc::clone(&received), number)
                .context("cannot listen for signals")?;
        }
        Ok(Self(received))
    }

    /// Ends the process as the received signal would have, if one was received.
    pub(crate) fn obey(&self) {
        if let Ok(signal) = i32::try_from(self.0.load(Ordering::Relaxed))
            && signal != 0
        {
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    }

    fn received(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// Shows how many bytes are done.
#[derive(Debug)]
pub(crate) struct Bar<'a> {
    bar: ProgressBar,
    signals: &'a Signals,
}

impl<'a> Bar<'a> {
    /// A bar over `bytes`; hidden where standard error is no terminal, or on request.
    pub(crate) fn new(bytes: u64, hidden: bool, signals: &'a Signals) -> Self {
        let bar = if hidden {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(bytes)
        };
        let style = "{bar:30} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
        Self { bar, signals }
    }
}

impl Progress for Bar<'_> {
    fn advance(&self, bytes: u64) -> ControlFlow<()> {
        self.bar.inc(bytes);
        if self.signals.received() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
