//! The measurement on text, and what the model computes for its beginning.

use super::figures::{count, decimal, figure, integer, percent};
use super::html::{Html, classed, element, tag};
use super::table::{note, section, table};
use crate::probe::detect::THRESHOLD;
use crate::probe::text_check::CLEAR;
use crate::report::{Answer, PieceProbability, TextCheckReport, TokenReport};

/// Number of colours between probability 0 and 1.
const COLOURS: f32 = 5.0;
/// The least probabilities of the colours of words, most of which no model guesses.
const WORD_LIMITS: [f32; 5] = [0.001, 0.01, 0.05, 0.2, 0.5];

/// The section of the text.
pub(super) fn text(id: &str, check: &TextCheckReport) -> Html {
    let is_generator = check.measured.iter().any(|one| one.accuracy.is_some());
    let (what, score) = if is_generator {
        ("masked token", "accuracy")
    } else {
        ("token", "AUC")
    };
    let mut content = tag(
        "p",
        Html::from("Measured on ")
            .and(count(check.sequences, "sequence"))
            .and(", ")
            .and(count(check.tokens, what))
            .and(" – ")
            .and(&check.explanation)
            .and("."),
    );
    let rows = check.measured.iter().map(|measured| {
        let is_configured = measured.heads == check.configured;
        let better = percent(measured.better).and(" of samples");
        [
            integer(measured.heads),
            decimal(measured.loss, 4),
            decimal(measured.accuracy.or(measured.auc).unwrap_or_default(), 3),
            if is_configured {
                figure(measured.better, "configured".to_owned())
            } else {
                better
            },
        ]
    });
    let headers = ["heads", "loss", score, "better than configured"];
    content.add(table("Head counts on text", headers, rows));
    let required = format!("; the threshold is {:.0} %.", CLEAR * 100.0);
    let better =
        " of bootstrap samples are better in their own context than among words of another place";
    content.add(note(percent(check.uses_context).and(better).and(required)));
    content.add(match &check.sample {
        Some(Answer::Tokens(tokens)) => suspects(tokens),
        Some(Answer::Words(words)) => guessed(words),
        Some(Answer::Masks(_)) | None => Html::default(),
    });
    section(&format!("{id}-text"), "Text", content)
}

/// The tokens of a discriminator, coloured by the probability that they were replaced.
fn suspects(tokens: &[TokenReport]) -> Html {
    let has_game = tokens.iter().any(|token| token.original.is_some());
    let explained = if has_game {
        "The beginning of the text. The generator has replaced the underlined tokens; the colour is the probability that \
         the discriminator gives to that."
    } else {
        "The beginning of the text. The colour is the probability that a token was replaced, by the discriminator."
    };
    let words = tokens.iter().enumerate().map(|(at, token)| {
        let mut title = format!("{:.0} %", token.replaced * 100.0);
        if let Some(original) = &token.original {
            title.push_str(&format!(", it was {original}"));
        }
        let is_replaced = token.original.is_some();
        piece(
            at,
            &token.piece,
            &title,
            (step(token.replaced), is_replaced),
        )
    });
    let found = tokens
        .iter()
        .filter(|token| token.replaced > THRESHOLD || token.original.is_some());
    let rows: Vec<[Html; 4]> = found
        .map(|token| {
            let was = token.original.as_deref().map_or("–".into(), Html::from);
            let verdict = match (token.replaced > THRESHOLD, &token.original) {
                (true, Some(_)) => "found",
                (false, Some(_)) => "missed",
                (true, None) if has_game => "false alarm",
                _ => "looks replaced",
            };
            let replaced = figure(token.replaced, format!("{:.0} %", token.replaced * 100.0));
            [token.piece.as_str().into(), was, replaced, verdict.into()]
        })
        .collect();
    let mut content = shown(
        explained,
        "tokens",
        words.collect(),
        ("original", "replaced"),
    );
    if rows.is_empty() {
        content.add(note("No token looks replaced."));
    } else {
        let headers = ["token", "it was", "replaced", "verdict"];
        content.add(table("Tokens that look replaced", headers, rows));
    }
    content
}

/// The words of a generator, coloured by the probability that it gives to them.
fn guessed(words: &[PieceProbability]) -> Html {
    let explained = "The beginning of the text. The colour is the probability that the generator gives to a word when that \
                     word alone is masked.";
    let limits = WORD_LIMITS.map(|limit| format!("{} %", limit * 100.0));
    let ([lowest, ..], [.., highest]) = (&limits, &limits);
    let listed = limits.join(", ");
    let pieces = words.iter().enumerate().map(|(at, word)| {
        let title = format!("{:.1} %", word.probability * 100.0);
        let class = WORD_LIMITS
            .iter()
            .filter(|limit| word.probability >= **limit);
        piece(at, &word.piece, &title, (class.count(), false))
    });
    shown(
        explained,
        "tokens words",
        pieces.collect(),
        (
            &format!("below {lowest}"),
            &format!("from {highest} on; the limits are {listed}"),
        ),
    )
}

fn shown(explained: &str, class: &str, pieces: Html, (low, high): (&str, &str)) -> Html {
    let mut swatches = Html::default();
    for class in 0..=5 {
        swatches.add(classed("i", &format!("swatch p{class}"), ""));
    }
    let legend = tag("span", low).and(swatches).and(tag("span", high));
    tag("p", explained)
        .and(classed("p", class, pieces))
        .and(classed("p", &class.replace("tokens", "legend"), legend))
}

/// The colour of a probability on a linear scale.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a step of a short scale"
)]
fn step(probability: f32) -> usize {
    (probability.clamp(0.0, 1.0) * COLOURS).round() as usize
}

/// A token; the pieces of a word are not separated.
fn piece(at: usize, piece: &str, title: &str, (colour, is_marked): (usize, bool)) -> Html {
    let class = format!("p{colour}{}", if is_marked { " marked" } else { "" });
    let (space, text) = match piece.strip_prefix("##") {
        Some(rest) if at > 0 => ("", rest),
        _ if at > 0 => (" ", piece),
        _ => ("", piece),
    };
    let attributes = [("class", class.as_str()), ("title", title)];
    Html::from(space).and(element("span", &attributes, text))
}
