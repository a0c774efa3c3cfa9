//! The tokenizer of a model: a vocabulary with its settings.

use super::error::Error;
use super::settings::Settings;
use super::vocabulary::Vocabulary;

/// A vocabulary with the settings of its tokenizer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenizerSetup {
    /// The vocabulary.
    pub vocabulary: Vocabulary,
    /// Lower-casing and accents, with their sources.
    pub settings: Settings,
}

impl TokenizerSetup {
    /// Decides the settings: by the options if they are given, else by the vocabulary.
    pub fn new(
        vocabulary: Vocabulary,
        do_lower_case: Option<bool>,
        strip_accents: Option<bool>,
    ) -> Self {
        let settings = Settings::new(&vocabulary, do_lower_case, strip_accents);
        Self {
            vocabulary,
            settings,
        }
    }

    /// Returns the tokenizer of a model whose word embeddings have `rows` rows.
    ///
    /// # Errors
    /// [`Error::Size`] if a token has no row. Fewer tokens than rows are allowed.
    pub fn fitted(&self, rows: usize) -> Result<Self, Error> {
        let mut fitted = self.clone();
        fitted.vocabulary.fit(rows)?;
        Ok(fitted)
    }

    /// Returns the warnings about the vocabulary and the settings.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.vocabulary.warnings();
        warnings.extend(self.settings.warnings.iter().cloned());
        warnings
    }
}
