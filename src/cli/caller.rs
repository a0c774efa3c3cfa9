//! Who runs a command: a user, to whom everything is printed, or code in the same process, to which
//! everything is returned.

use std::ffi::OsString;

use anyhow::Context as _;
use parking_lot::Mutex;
use serde::Serialize;

use super::progress::{Bar, Signals};
use super::{report, text};
use crate::report::Document;
use crate::{Error, PlannedConversion, Progress};

/// Uses the plans of a dry run; its error is that of the command.
pub type UsePlans<'a> =
    &'a mut (dyn FnMut(&PlannedConversion<'_>, &dyn Progress) -> Result<(), Error> + Send);

/// Who runs a command.
pub(crate) struct Caller<'a> {
    /// The words of the command line after the program's name.
    pub(crate) words: Vec<OsString>,
    code: Option<Code<'a>>,
}

/// Code in the same process.
struct Code<'a> {
    progress: &'a dyn Progress,
    use_plans: Mutex<Option<UsePlans<'a>>>,
    warnings: Mutex<Vec<String>>,
    document: Mutex<String>,
}

impl<'a> Caller<'a> {
    /// Creates the caller that is a user.
    pub(crate) fn user(words: Vec<OsString>) -> Self {
        Self { words, code: None }
    }

    /// Creates the caller that is code.
    pub(crate) fn code(
        words: Vec<OsString>,
        progress: &'a dyn Progress,
        use_plans: Option<UsePlans<'a>>,
    ) -> Self {
        let code = Code {
            progress,
            use_plans: Mutex::new(use_plans),
            warnings: Mutex::default(),
            document: Mutex::default(),
        };
        Self {
            words,
            code: Some(code),
        }
    }

    /// True if the caller is code.
    pub(crate) fn is_code(&self) -> bool {
        self.code.is_some()
    }

    /// Returns the document and the warnings that code receives.
    pub(crate) fn into_results(self) -> (String, Vec<String>) {
        let code = self.code.map(|code| (code.document, code.warnings));
        let (document, warnings) = code.unwrap_or_default();
        (document.into_inner(), warnings.into_inner())
    }

    /// Lets code use the plans of a dry run.
    pub(crate) fn use_plans(&self, planned: &PlannedConversion<'_>) -> Result<(), Error> {
        let Some(code) = &self.code else {
            return Ok(());
        };
        match code.use_plans.lock().take() {
            Some(use_plans) => use_plans(planned, code.progress),
            None => Ok(()),
        }
    }

    /// Runs a command that signals interrupt. After an interruption by a signal the signal ends the process.
    pub(crate) fn until_signal(
        &self,
        run: impl FnOnce(&Signals) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let signals = self.signals()?;
        let result = run(&signals);
        if result.as_ref().is_err_and(super::is_interruption) {
            signals.terminate();
        }
        result
    }

    /// Starts to listen for signals. Signals of a process that runs other code are not caught: that code cancels
    /// through its [`Progress`].
    fn signals(&self) -> anyhow::Result<Signals> {
        match self.code {
            None => Signals::catch(),
            Some(_) => Ok(Signals::not_caught()),
        }
    }

    /// Returns what receives the progress: a bar, which may be hidden, or the code's own.
    pub(crate) fn progress<'b>(
        &'b self,
        hidden: bool,
        signals: Option<&'b Signals>,
    ) -> Box<dyn Progress + 'b> {
        match &self.code {
            None => Box::new(Bar::new(hidden, signals)),
            Some(code) => Box::new(code.progress),
        }
    }

    /// Prints or returns warnings.
    pub(crate) fn warn(&self, warnings: impl IntoIterator<Item = String>) {
        match &self.code {
            None => text::warn(warnings),
            Some(code) => code.warnings.lock().extend(warnings),
        }
    }

    /// Returns the code's own progress; `None` if the caller is a user.
    pub(crate) fn code_progress(&self) -> Option<&dyn Progress> {
        self.code.as_ref().map(|code| code.progress)
    }

    /// Prints or returns a document on a line of its own, after those before.
    pub(crate) fn line<T: Serialize>(&self, document: &Document<T>) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(document).context("cannot write JSON")?;
        line.push('\n');
        match &self.code {
            None => report::print_text(&line),
            Some(code) => {
                code.document.lock().push_str(&line);
                Ok(())
            }
        }
    }

    /// Prints or returns the document of a command.
    pub(crate) fn document<T: Serialize>(&self, document: &Document<T>) -> anyhow::Result<()> {
        let Some(code) = &self.code else {
            return report::print_json(document);
        };
        *code.document.lock() = serde_json::to_string(document).context("cannot write JSON")?;
        Ok(())
    }
}
