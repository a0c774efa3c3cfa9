//! Replaced token detection: a discriminator rates each token of a text, or the tokens that a generator
//! replaced, as in the training of ELECTRA.

use super::error::Error;
use super::model::{Probe, Tokens, ordinary};
use super::sampling::draw_masked;

/// A token and the probability that it was replaced.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Suspect {
    /// The word piece in the input of the discriminator.
    pub piece: String,
    /// The word piece of the text, if the generator replaced it by another one.
    pub original: Option<String>,
    /// The probability that it was replaced.
    pub probability: f32,
}

/// A token counts as replaced above this probability.
pub const THRESHOLD: f32 = 0.5;

/// Returns every token but the special ones, with its probability.
pub fn detect(discriminator: &Probe, tokens: &Tokens) -> Result<Vec<Suspect>, Error> {
    let probabilities = discriminator.replaced_probabilities(&discriminator.model, &tokens.ids)?;
    Ok(ordinary(tokens)
        .into_iter()
        .map(|at| Suspect {
            piece: tokens.pieces[at].clone(),
            original: None,
            probability: probabilities[at],
        })
        .collect())
}

/// Masks 15 % of the tokens, replaces them by tokens drawn from the generator, and runs the discriminator on
/// the result.
pub fn game(
    generator: &Probe,
    discriminator: &Probe,
    tokens: &Tokens,
    random: &mut fastrand::Rng,
) -> Result<Vec<Suspect>, Error> {
    generator.check_vocabulary_of(discriminator)?;
    let masked = draw_masked(&ordinary(tokens), random);
    let mut replaced = tokens.clone();
    replaced.ids = generator.replace(&tokens.ids, &masked, random)?;
    for at in masked {
        replaced.pieces[at] = generator.piece(replaced.ids[at]);
    }
    let mut suspects = detect(discriminator, &replaced)?;
    for (suspect, at) in std::iter::zip(&mut suspects, ordinary(tokens)) {
        if replaced.ids[at] != tokens.ids[at] {
            suspect.original = Some(tokens.pieces[at].clone());
        }
    }
    Ok(suspects)
}
