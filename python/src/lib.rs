//! The extension module `electra_convert._native`: what the Python package calls.
//!
//! A function runs a command of the program in process, on a thread of its own. The calling thread waits
//! without the GIL, looks for signals and calls the progress callback. The result is the JSON document that the
//! command prints with `--json`; the Python sources make dataclasses of it.

mod arrays;
mod work;

use std::ffi::OsString;

use arrays::Values;
use electra_convert::export::CONFIG_FILE;
use electra_convert::{PlannedConversion, Progress, cli};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The functions of the module.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{call, main, tensors, tokenizer_files};
}

/// Runs the program with the words of a command line, as the console script does; returns the exit code.
#[pyfunction]
fn main(py: Python<'_>, words: Vec<OsString>) -> u8 {
    py.detach(|| cli::run(words))
}

/// Runs a command. Returns its exit code, its JSON document and its warnings.
#[pyfunction]
#[pyo3(signature = (words, progress = None))]
fn call(
    py: Python<'_>,
    words: Vec<OsString>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<(u8, String, Vec<String>)> {
    let called = work::run(py, progress, |progress| cli::call(words, progress, None))?;
    Ok((called.exit_code, called.document, called.warnings))
}

/// What a command returns, and a dictionary of what its plans are used for.
type WithDict<'py> = (u8, String, Vec<String>, Bound<'py, PyDict>);

/// Runs a dry run of a conversion and computes its tensors. Returns the results of [`call`], and the arrays by
/// name, sorted; they are empty after a failure.
#[pyfunction]
#[pyo3(signature = (words, progress = None))]
fn tensors<'py>(
    py: Python<'py>,
    words: Vec<OsString>,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<WithDict<'py>> {
    let (called, tensors) = work::run(py, progress, |progress| {
        let mut tensors = Vec::new();
        let mut compute = |planned: &PlannedConversion<'_>, progress: &dyn Progress| {
            let mut take = |tensor| tensors.push(Values::of(tensor));
            planned.compute(progress, &mut take)
        };
        let called = cli::call(words, progress, Some(&mut compute));
        if called.exit_code != 0 {
            tensors.clear();
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        (called, tensors)
    })?;
    let arrays = PyDict::new(py);
    for tensor in tensors {
        let name = tensor.name.clone();
        arrays.set_item(name, tensor.into_array(py)?)?;
    }
    Ok((called.exit_code, called.document, called.warnings, arrays))
}

/// Runs a dry run of a conversion. Returns the results of [`call`], and the texts of the files that transformers
/// loads a tokenizer from, by name, `config.json` among them; without a vocabulary it is alone.
#[pyfunction]
#[pyo3(signature = (words, progress = None))]
fn tokenizer_files<'py>(
    py: Python<'py>,
    words: Vec<OsString>,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<WithDict<'py>> {
    let (called, files) = work::run(py, progress, |progress| {
        let mut files = Vec::new();
        let mut write = |planned: &PlannedConversion<'_>, _: &dyn Progress| {
            for plan in planned.plans() {
                files.push((CONFIG_FILE, plan.config().to_json()));
                if let Some(tokenizer) = &plan.tokenizer {
                    files.extend(tokenizer.files(plan.config().max_position_embeddings)?);
                }
            }
            Ok(())
        };
        (cli::call(words, progress, Some(&mut write)), files)
    })?;
    let texts = PyDict::new(py);
    for (name, text) in files {
        texts.set_item(name, text)?;
    }
    Ok((called.exit_code, called.document, called.warnings, texts))
}
