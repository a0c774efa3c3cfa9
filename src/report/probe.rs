//! What models compute for texts.

use serde::Serialize;

use crate::probe::Tokens;
use crate::probe::detect::Suspect;
use crate::probe::fill::{Candidate, Filled};
use crate::probe::text_check::Sample;

/// The texts that were probed: the body of a document.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ProbeReport {
    /// One for each text.
    pub texts: Vec<TextReport>,
}

impl ProbeReport {
    /// Puts the texts together.
    pub fn new(texts: Vec<TextReport>) -> Self {
        Self { texts }
    }
}

/// What a model computes for one text.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TextReport {
    /// The text.
    pub text: String,
    /// Number of tokens that were cut off, because the text was too long for the model.
    pub cut: usize,
    /// What the model computes.
    #[serde(flatten)]
    pub answer: Answer,
}

impl TextReport {
    /// Describes the answer to a text.
    pub fn new(text: String, tokens: &Tokens, answer: impl Into<Answer>) -> Self {
        Self {
            text,
            cut: tokens.cut,
            answer: answer.into(),
        }
    }
}

/// What a model computes for a text.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// A generator: what each `[MASK]` stands for.
    Masks(Vec<MaskReport>),
    /// A generator, for a text without `[MASK]`: each word with its probability when it alone is masked.
    Words(Vec<PieceProbability>),
    /// A discriminator: which tokens look replaced.
    Tokens(Vec<TokenReport>),
}

/// What a `[MASK]` stands for.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MaskReport {
    /// The position of the `[MASK]` among the tokens.
    pub position: usize,
    /// The most probable tokens.
    pub candidates: Vec<PieceProbability>,
}

/// A token with its probability.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PieceProbability {
    /// The token.
    pub piece: String,
    /// Its probability.
    pub probability: f32,
}

/// A token, and whether it looks replaced.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TokenReport {
    /// The token.
    pub piece: String,
    /// The token that the generator replaced by it.
    pub original: Option<String>,
    /// The probability that it was replaced.
    pub replaced: f32,
}

fn probabilities(candidates: Vec<Candidate>) -> Vec<PieceProbability> {
    let probability = |candidate: Candidate| PieceProbability {
        piece: candidate.piece,
        probability: candidate.probability,
    };
    candidates.into_iter().map(probability).collect()
}

impl From<Filled> for Answer {
    fn from(filled: Filled) -> Self {
        match filled {
            Filled::Masks(masks) => {
                let masks = masks.into_iter().map(|(position, best)| MaskReport {
                    position,
                    candidates: probabilities(best),
                });
                Self::Masks(masks.collect())
            }
            Filled::Words(words) => Self::Words(probabilities(words)),
        }
    }
}

impl From<Sample> for Answer {
    fn from(sample: Sample) -> Self {
        match sample {
            Sample::Words(words) => Self::Words(probabilities(words)),
            Sample::Tokens(suspects) => suspects.into(),
        }
    }
}

impl From<Vec<Suspect>> for Answer {
    fn from(suspects: Vec<Suspect>) -> Self {
        let token = |suspect: Suspect| TokenReport {
            piece: suspect.piece,
            original: suspect.original,
            replaced: suspect.probability,
        };
        Self::Tokens(suspects.into_iter().map(token).collect())
    }
}
