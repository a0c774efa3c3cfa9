//! A conversion as a test describes it.

use std::ffi::OsStr;
use std::path::Path;

use tempfile::TempDir;

use crate::bundle_writer::Bundle;
use crate::{Run, command, temp};

/// A conversion to be run: `export(fixture("trained")).model("discriminator").run()`.
#[must_use = "nothing is converted before `run`"]
pub struct Export {
    checkpoint: OsArg,
    out: Option<OsArg>,
    options: Vec<OsArg>,
}

type OsArg = std::ffi::OsString;

/// Describes a conversion of `checkpoint`.
pub fn export(checkpoint: impl AsRef<Path>) -> Export {
    Export {
        checkpoint: checkpoint.as_ref().into(),
        out: None,
        options: Vec::new(),
    }
}

impl Export {
    /// Adds `--model`.
    pub fn model(self, model: &str) -> Self {
        self.args(["--model", model])
    }

    /// Adds an option.
    pub fn arg(self, option: impl AsRef<OsStr>) -> Self {
        self.args([option])
    }

    /// Adds options.
    pub fn args(mut self, options: impl IntoIterator<Item: AsRef<OsStr>>) -> Self {
        let options = options.into_iter().map(|option| option.as_ref().to_owned());
        self.options.extend(options);
        self
    }

    /// Sets OUT. Without it the files go to a temporary folder, removed after the run.
    pub fn to(mut self, out: impl AsRef<Path>) -> Self {
        self.out = Some(out.as_ref().into());
        self
    }

    /// Runs the program.
    pub fn run(self) -> Run {
        let folder = temp();
        let out = self.out.unwrap_or_else(|| folder.path().join("out").into());
        let mut command = command(&[]);
        command.args(self.options).arg(self.checkpoint).arg(out);
        command.output().unwrap().into()
    }
}

/// Writes a bundle to a folder and converts it. The output is in its folder `out`.
pub fn export_bundle(bundle: &Bundle, model: &str, options: &[&str]) -> (TempDir, Run) {
    let folder = temp();
    bundle.write(&folder.path().join("m"));
    let run = export_again(&folder, model, options);
    (folder, run)
}

/// Converts the bundle in a folder of [`export_bundle`] again.
pub fn export_again(folder: &TempDir, model: &str, options: &[&str]) -> Run {
    export(folder.path().join("m"))
        .model(model)
        .args(["--vocab", "none", "--force"])
        .args(options)
        .to(folder.path().join("out"))
        .run()
}
