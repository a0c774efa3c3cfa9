//! A discriminator tells which tokens were replaced; and the game of the paper, in which a generator
//! replaces them.

use super::{Error, Probe, Tokens, draw_masked, ordinary};

/// A token and how probably it was replaced.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// The word piece that the discriminator saw.
    pub piece: String,
    /// The word piece that was there, where the generator has put another.
    pub original: Option<String>,
    /// The probability that it was replaced.
    pub probability: f32,
}

/// Above this probability a token counts as replaced.
pub const THRESHOLD: f32 = 0.5;

/// Judges every token but the special ones.
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

/// Masks 15 % of the tokens, lets the generator fill them and the discriminator find the fakes.
pub fn game(
    generator: &Probe,
    discriminator: &Probe,
    tokens: &Tokens,
    random: &mut fastrand::Rng,
) -> Result<Vec<Suspect>, Error> {
    generator.check_vocabulary_of(discriminator)?;
    let masked = draw_masked(&ordinary(tokens), random);
    let mut faked = tokens.clone();
    faked.ids = generator.replace(&tokens.ids, &masked, random)?;
    for at in masked {
        faked.pieces[at] = generator.piece(faked.ids[at]);
    }
    let mut suspects = detect(discriminator, &faked)?;
    for (suspect, at) in std::iter::zip(&mut suspects, ordinary(tokens)) {
        if faked.ids[at] != tokens.ids[at] {
            suspect.original = Some(tokens.pieces[at].clone());
        }
    }
    Ok(suspects)
}
