//! Names and order of the files of an export.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use super::Error;
use crate::tokenizer;

/// Name of the weights, as transformers expects it.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Name of the configuration, as transformers expects it.
pub const CONFIG_FILE: &str = "config.json";
/// Name of the model card, as the Hugging Face Hub expects it. It is not among [`EXPORT_FILES`]: a README.md in an
/// output directory may be the user's own, and is replaced only by another card.
pub(crate) const CARD_FILE: &str = "README.md";
/// Name of the record of the inputs of an export, by which a finished export is recognised.
pub(crate) const RECORD_FILE: &str = "conversion.json";
/// How the names of temporary directories begin in which files for a bucket are staged.
pub const STAGED_FOR_UPLOAD: &str = "electra-convert-upload-";

/// Every file that an export may have, in the order in which they are written and published: a directory
/// with weights has all other files.
pub(crate) const EXPORT_FILES: [&str; 3 + tokenizer::FILES.len()] = {
    let [vocab, tokenizer, tokenizer_config, special_tokens] = tokenizer::FILES;
    [
        CONFIG_FILE,
        vocab,
        tokenizer,
        tokenizer_config,
        special_tokens,
        RECORD_FILE,
        WEIGHTS_FILE,
    ]
};

/// What an export has beside weights and configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) tokenizer: bool,
    pub(crate) card: bool,
    pub(crate) record: bool,
}

/// Returns the files that an export with these parts writes, in the order in which they are published.
pub(crate) fn written_files(parts: Parts) -> impl Iterator<Item = &'static str> {
    let is_written = move |file: &&str| match *file {
        RECORD_FILE => parts.record,
        file => parts.tokenizer || !tokenizer::FILES.contains(&file),
    };
    let card = parts.card.then_some(CARD_FILE);
    card.into_iter()
        .chain(EXPORT_FILES.into_iter().filter(is_written))
}

/// Writes a text file and syncs it; returns its length in bytes.
///
/// # Errors
/// If there is a file at `path`, or writing fails.
pub(crate) fn write_text(text: &str, path: &Path) -> Result<u64, Error> {
    File::create_new(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .map_err(Error::writing(path))?;
    Ok(text.len() as u64)
}
