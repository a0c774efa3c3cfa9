//! Masked language modelling: a generator predicts the tokens of masks, or the probability of each word.

use super::error::Error;
use super::model::{Probe, Tokens};
use crate::progress::Watch;

/// A word piece with its probability.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// The word piece.
    pub piece: String,
    /// Its probability.
    pub probability: f32,
}

/// The predictions of a generator for a text.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Filled {
    /// For each `[MASK]` its position and the most probable word pieces, best first.
    Masks(Vec<(usize, Vec<Candidate>)>),
    /// For each word its probability when it alone is masked: the product of those of its pieces.
    Words(Vec<Candidate>),
}

/// Number of word pieces for a mask.
const BEST: usize = 5;

/// Predicts the tokens of every `[MASK]`; if there is none, masks each word in turn.
pub fn fill(generator: &Probe, tokens: &Tokens) -> Result<Filled, Error> {
    let masks: Vec<usize> = (0..tokens.ids.len())
        .filter(|&at| tokens.ids[at] == generator.mask_id)
        .collect();
    if masks.is_empty() {
        let words = words(generator, tokens, &Watch::new(&()))?;
        return Ok(Filled::Words(words));
    }
    let probabilities = generator.token_probabilities(&generator.model, &tokens.ids)?;
    let filled = masks.into_iter().map(|at| {
        let mut ranked: Vec<(u32, f32)> = (0..).zip(probabilities[at].iter().copied()).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let best = ranked
            .into_iter()
            .take(BEST)
            .map(|(id, probability)| Candidate {
                piece: generator.piece(id),
                probability,
            });
        (at, best.collect())
    });
    Ok(Filled::Masks(filled.collect()))
}

/// Masks each word in turn; `watch` can cancel it.
pub(super) fn words(
    generator: &Probe,
    tokens: &Tokens,
    watch: &Watch<'_>,
) -> Result<Vec<Candidate>, Error> {
    let mut words = Vec::new();
    let mut start = 0;
    while start < tokens.ids.len() {
        let word = tokens.words[start];
        let end = (start..tokens.ids.len())
            .find(|&at| tokens.words[at] != word)
            .unwrap_or(tokens.ids.len());
        if word.is_some() {
            watch.check()?;
            let positions: Vec<usize> = (start..end).collect();
            let masked = generator.masked(&tokens.ids, &positions);
            let probabilities = generator.token_probabilities(&generator.model, &masked)?;
            let of_piece = |at: usize| probabilities[at][tokens.ids[at] as usize];
            words.push(Candidate {
                piece: join(&tokens.pieces[start..end]),
                probability: (start..end).map(of_piece).product(),
            });
        }
        start = end;
    }
    Ok(words)
}

/// Joins word pieces to a word.
fn join(pieces: &[String]) -> String {
    pieces
        .iter()
        .enumerate()
        .map(|(i, piece)| match piece.strip_prefix("##") {
            Some(rest) if i > 0 => rest,
            _ => piece,
        })
        .collect()
}
