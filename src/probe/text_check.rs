//! Measures a model on text, with every head count that its width allows.
//!
//! The number of attention heads is not determined by tensor shapes, and with a wrong one all numbers stay
//! finite. On text the correct count predicts better: a generator the masked tokens, a discriminator the
//! tokens that the generator replaced. 15 % of the tokens are masked; the counts are compared by the mean
//! cross-entropy of a token. A difference is clear if nearly all samples of a bootstrap over the sequences
//! show it.
//!
//! A model that was hardly trained can also prefer a wrong head count clearly, because less attention (or
//! more) happens to suit its random weights. Such a model ignores context: it predicts a token in its own
//! context no better than in the context of another sequence. Then the check is undecided.

use std::path::Path;

use super::detect::{Suspect, detect, game};
use super::error::Error;
use super::fill::{Candidate, words};
use super::model::{Probe, ordinary};
use super::sampling::draw_masked;
use super::statistics::{area_under_curve, cross_entropy, mean, share_better};
use crate::progress::{Phase, Progress, Watch};

/// Length of a sequence in tokens, with `[CLS]` and `[SEP]`. Short, because positions that did not occur in
/// training have random embeddings.
const LENGTH: usize = 64;
/// The largest number of sequences; a few kilobytes of text give fewer.
const MAX_SEQUENCES: usize = 128;
/// The smallest number of sequences for a bootstrap.
const MIN_SEQUENCES: usize = 8;
/// The smallest head size that is measured.
const MIN_HEAD_SIZE: usize = 8;
/// The part of the text that a sample is taken from, in characters.
const SAMPLE_CHARS: usize = 1000;
/// The share of bootstrap samples from which on a difference is clear.
pub(crate) const CLEAR: f64 = 0.99;

/// The measurement of one head count.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Measured {
    /// Number of attention heads.
    pub heads: usize,
    /// Mean cross-entropy in nats: of a masked token (generator), of replaced or not (discriminator).
    pub loss: f64,
    /// Accuracy on masked tokens (generator), or area under the ROC curve (discriminator).
    pub score: f64,
    /// Share of bootstrap samples in which it is better than the configured count.
    pub better: f64,
    /// Sum of losses and number of tokens of each sequence.
    sequences: Vec<(f64, usize)>,
}

/// The verdict on the configured head count.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is clearly better than every other count.
    Confirmed,
    /// No difference is clear, for this reason.
    Undecided(&'static str),
    /// Another count is clearly better.
    Contradicted {
        /// The best count.
        better: usize,
        /// Share of bootstrap samples in which it is better.
        confidence: f64,
    },
}

/// The result of a measurement.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TextCheck {
    /// True for a generator, false for a discriminator.
    pub is_generator: bool,
    /// The head count in config.json.
    pub configured: usize,
    /// All head counts, the best first.
    pub measured: Vec<Measured>,
    /// Number of sequences.
    pub sequences: usize,
    /// Number of predicted tokens.
    pub tokens: usize,
    /// Share of bootstrap samples in which the best count predicts tokens in their own context better than in
    /// the context of another sequence.
    pub uses_context: f64,
    /// The verdict on the configured head count.
    pub verdict: Verdict,
    /// What the model computes for the beginning of the text, if it was requested.
    pub sample: Option<Sample>,
}

/// What a model computes for the beginning of a text.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Sample {
    /// A generator: each word with its probability when it alone is masked.
    Words(Vec<Candidate>),
    /// A discriminator: each token, some of which the generator replaced, if there is one.
    Tokens(Vec<Suspect>),
}

/// A text that a model is measured on.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// The text.
    pub text: &'a str,
    /// The path of the text, for errors.
    pub path: &'a Path,
    /// The directory of the generator of the same checkpoint, for a discriminator.
    pub generator: Option<&'a Path>,
    /// The seed of everything that is drawn at random.
    pub seed: u64,
}

/// Measures the model in `folder`. A discriminator needs the generator of its checkpoint for a verdict: without
/// it replacements are drawn uniformly, which favours wrong head counts.
pub fn run(folder: &Path, text: &Text<'_>, progress: &dyn Progress) -> Result<TextCheck, Error> {
    let watch = Watch::new(progress);
    let check = watched(folder, text, false, &watch);
    watch.check()?;
    check
}

/// As [`run`]; `with_sample` requests [`TextCheck::sample`]. After a cancellation the result has no meaning.
pub(crate) fn watched(
    folder: &Path,
    text: &Text<'_>,
    with_sample: bool,
    watch: &Watch<'_>,
) -> Result<TextCheck, Error> {
    let seed = text.seed;
    let probe = Probe::load_watched(folder, watch)?;
    let mut random = fastrand::Rng::with_seed(seed);
    let generator = match text.generator {
        Some(folder) if !probe.is_generator() => Some(Probe::load_watched(folder, watch)?),
        _ => None,
    };
    let sequences = sequences(&probe, text)?;
    // The generator, every head count, and the best one twice more.
    let passes = head_counts(&probe).count() + 2 + usize::from(generator.is_some());
    watch.begin(Phase::Measuring, (passes * sequences.len()) as u64);
    let tasks = tasks(&probe, generator.as_ref(), sequences, &mut random, watch)?;

    let configured = probe.config.num_attention_heads;
    let mut measured = head_counts(&probe)
        .map(|heads| measure(&probe, heads, &tasks, watch))
        .collect::<Result<Vec<_>, Error>>()?;
    let reference = measured
        .iter()
        .find(|measured| measured.heads == configured)
        .map(|measured| measured.sequences.clone())
        .unwrap_or_default();
    for other in &mut measured {
        // The same seed for each, so that all are compared on the same samples.
        other.better = share_better(&other.sequences, &reference, seed);
    }
    measured.sort_by(|a, b| a.loss.total_cmp(&b.loss));

    let (own, foreign) = in_context(&tasks, &mut random);
    let best = measured[0].heads;
    let [own, foreign] = [own, foreign].map(|tasks| measure(&probe, best, &tasks, watch));
    let uses_context = share_better(&own?.sequences, &foreign?.sequences, seed);
    let verdict = if generator.is_none() && !probe.is_generator() {
        Verdict::Undecided(
            "without the generator of the checkpoint, replacements are uniform and show nothing \
             about head counts",
        )
    } else {
        judge(&measured, configured, tasks.len(), uses_context)
    };
    let sample = || sample(&probe, generator.as_ref(), text, watch);
    Ok(TextCheck {
        sample: with_sample.then(sample).transpose()?,
        is_generator: probe.is_generator(),
        configured,
        measured,
        sequences: tasks.len(),
        tokens: tasks.iter().map(|task| task.answers.len()).sum(),
        uses_context,
        verdict,
    })
}

/// Runs the model on the beginning of a text.
fn sample(
    probe: &Probe,
    generator: Option<&Probe>,
    text: &Text<'_>,
    watch: &Watch<'_>,
) -> Result<Sample, Error> {
    // Every token has a character: what follows would be cut.
    let beginning = text.text.char_indices().nth(SAMPLE_CHARS);
    let beginning = beginning.map_or(text.text, |(end, _)| &text.text[..end]);
    let limit = LENGTH.min(probe.config.max_position_embeddings);
    let tokens = probe.tokenize_to(beginning, limit)?;
    watch.check()?;
    if probe.is_generator() {
        return Ok(Sample::Words(words(probe, &tokens, watch)?));
    }
    let mut random = fastrand::Rng::with_seed(text.seed);
    let suspects = match generator {
        Some(generator) => game(generator, probe, &tokens, &mut random)?,
        None => detect(probe, &tokens)?,
    };
    Ok(Sample::Tokens(suspects))
}

/// Returns every count that divides the hidden size into heads of at least [`MIN_HEAD_SIZE`], and the
/// configured one.
fn head_counts(probe: &Probe) -> impl Iterator<Item = usize> {
    let hidden = probe.config.hidden_size;
    let configured = probe.config.num_attention_heads;
    (1..=hidden).filter(move |heads| {
        hidden.is_multiple_of(*heads) && (hidden / heads >= MIN_HEAD_SIZE || *heads == configured)
    })
}

/// The prediction task of one sequence.
struct Task {
    /// The input, with masks or replacements.
    ids: Vec<u32>,
    /// Positions and correct answers: the id of the token (generator), or 1 if it was replaced
    /// (discriminator).
    answers: Vec<(usize, u32)>,
}

/// Returns tasks twice: in their own context, and with all tokens but the predicted ones taken from the next
/// sequence. For a discriminator, which predicts every token, half of the tokens are drawn.
fn in_context(tasks: &[Task], random: &mut fastrand::Rng) -> (Vec<Task>, Vec<Task>) {
    let draw_answers = |task: &Task, random: &mut fastrand::Rng| -> Vec<(usize, u32)> {
        if task.answers.len() < task.ids.len() / 2 {
            return task.answers.clone();
        }
        let half = task.answers.len() / 2;
        random.choose_multiple(task.answers.iter().copied(), half)
    };
    let mut own = Vec::with_capacity(tasks.len());
    let mut foreign = Vec::with_capacity(tasks.len());
    for (task, next) in std::iter::zip(tasks, tasks.iter().cycle().skip(1)) {
        let answers = draw_answers(task, random);
        let mut ids = next.ids.clone();
        for &(at, _) in &answers {
            ids[at] = task.ids[at];
        }
        own.push(Task {
            ids: task.ids.clone(),
            answers: answers.clone(),
        });
        foreign.push(Task { ids, answers });
    }
    (own, foreign)
}

/// Returns the task of each sequence.
fn tasks(
    probe: &Probe,
    generator: Option<&Probe>,
    sequences: Vec<Vec<u32>>,
    random: &mut fastrand::Rng,
    watch: &Watch<'_>,
) -> Result<Vec<Task>, Error> {
    let vocabulary = u32::try_from(probe.config.vocab_size).unwrap_or(u32::MAX);
    if let Some(generator) = generator {
        generator.check_vocabulary_of(probe)?;
    }
    let mut tasks = Vec::new();
    for ids in sequences {
        // All but `[CLS]` and `[SEP]`.
        let positions: Vec<usize> = (1..ids.len() - 1).collect();
        let masked = draw_masked(&positions, random);
        if probe.is_generator() {
            tasks.push(Task {
                ids: probe.masked(&ids, &masked),
                answers: masked.iter().map(|&at| (at, ids[at])).collect(),
            });
            continue;
        }
        let replaced = if let Some(generator) = generator {
            watch.advance(1)?;
            generator.replace(&ids, &masked, random)?
        } else {
            let mut replaced = ids.clone();
            for &at in &masked {
                replaced[at] = random.u32(0..vocabulary);
            }
            replaced
        };
        let answer = |at: usize| (at, u32::from(replaced[at] != ids[at]));
        tasks.push(Task {
            answers: positions.into_iter().map(answer).collect(),
            ids: replaced,
        });
    }
    Ok(tasks)
}

/// Returns the text as sequences of full length.
fn sequences(probe: &Probe, text: &Text<'_>) -> Result<Vec<Vec<u32>>, Error> {
    let tokens = probe.encode(text.text)?;
    let body: Vec<u32> = ordinary(&tokens)
        .into_iter()
        .map(|at| tokens.ids[at])
        .collect();
    let length = LENGTH.min(probe.config.max_position_embeddings);
    let too_little = || Error::TooLittleText {
        path: text.path.to_owned(),
        found: body.len(),
    };
    let (Some(&first), Some(&last), true) = (tokens.ids.first(), tokens.ids.last(), length > 2)
    else {
        return Err(too_little());
    };
    let sequences: Vec<Vec<u32>> = body
        .chunks_exact(length - 2)
        .take(MAX_SEQUENCES)
        .map(|chunk| [&[first], chunk, &[last]].concat())
        .collect();
    if sequences.is_empty() {
        return Err(too_little());
    }
    Ok(sequences)
}

/// Runs the model with one head count on all tasks.
fn measure(
    probe: &Probe,
    heads: usize,
    tasks: &[Task],
    watch: &Watch<'_>,
) -> Result<Measured, Error> {
    let model = probe.model.with_attention_heads(heads)?;
    let mut sequences = Vec::with_capacity(tasks.len());
    let mut right = 0_usize;
    let mut judged = Vec::new();
    for task in tasks {
        watch.advance(1)?;
        let mut loss = 0.0;
        if probe.is_generator() {
            let probabilities = probe.token_probabilities(&model, &task.ids)?;
            for &(at, answer) in &task.answers {
                let p = &probabilities[at];
                loss += cross_entropy(p[answer as usize]);
                let best = (0..p.len()).max_by(|&a, &b| p[a].total_cmp(&p[b]));
                right += usize::from(best == Some(answer as usize));
            }
        } else {
            let probabilities = probe.replaced_probabilities(&model, &task.ids)?;
            for &(at, answer) in &task.answers {
                let p = probabilities[at];
                loss += cross_entropy(if answer == 1 { p } else { 1.0 - p });
                judged.push((p, answer == 1));
            }
        }
        sequences.push((loss, task.answers.len()));
    }
    #[allow(clippy::cast_precision_loss, reason = "counts of tokens")]
    let score = if probe.is_generator() {
        right as f64 / tasks.iter().map(|task| task.answers.len()).sum::<usize>() as f64
    } else {
        area_under_curve(judged)
    };
    Ok(Measured {
        heads,
        loss: mean(sequences.iter()),
        score,
        better: 0.0,
        sequences,
    })
}

/// Returns the verdict; `measured` is sorted, the best first.
fn judge(measured: &[Measured], configured: usize, sequences: usize, uses_context: f64) -> Verdict {
    if sequences < MIN_SEQUENCES {
        return Verdict::Undecided("there is too little text");
    }
    let best = &measured[0];
    if uses_context < CLEAR {
        return Verdict::Undecided("the model ignores the context of a word");
    }
    if best.heads != configured && best.better >= CLEAR {
        return Verdict::Contradicted {
            better: best.heads,
            confidence: best.better,
        };
    }
    let mut others = measured.iter().filter(|other| other.heads != configured);
    if best.heads == configured && others.all(|other| other.better <= 1.0 - CLEAR) {
        Verdict::Confirmed
    } else {
        Verdict::Undecided("no head count is clearly better than the others")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_a_clear_difference_and_a_model_that_uses_context() {
        let measured = |counts: &[(usize, f64, f64)]| -> Vec<Measured> {
            let measured = |&(heads, loss, better)| Measured {
                heads,
                loss,
                score: 0.5,
                better,
                sequences: Vec::new(),
            };
            counts.iter().map(measured).collect()
        };
        let right = measured(&[(4, 0.1, 0.0), (2, 0.2, 0.001), (8, 0.3, 0.0)]);
        let wrong = measured(&[(4, 0.1, 0.999), (2, 0.2, 0.0), (8, 0.3, 0.4)]);
        let close = measured(&[(4, 0.1, 0.9), (2, 0.11, 0.0)]);
        assert_eq!(judge(&right, 4, 30, 1.0), Verdict::Confirmed);
        assert_eq!(
            judge(&wrong, 2, 30, 1.0),
            Verdict::Contradicted {
                better: 4,
                confidence: 0.999
            }
        );
        let is_undecided = |verdict| matches!(verdict, Verdict::Undecided(_));
        assert!(is_undecided(judge(&close, 2, 30, 1.0)));
        assert!(
            is_undecided(judge(&wrong, 2, 30, 0.8)),
            "a model that ignores context"
        );
        assert!(is_undecided(judge(&wrong, 2, 7, 1.0)), "too little text");
    }

    #[test]
    fn tokens_are_moved_to_another_context() {
        let mut random = fastrand::Rng::with_seed(1);
        let task = |first: u32, answers: &[usize]| Task {
            ids: (first..first + 40).collect(),
            answers: answers.iter().map(|&at| (at, first)).collect(),
        };
        let (own, foreign) = in_context(&[task(0, &[7, 30]), task(100, &[2, 9])], &mut random);
        assert_eq!(own[0].ids, task(0, &[]).ids);
        assert_eq!(foreign[0].answers, [(7, 0), (30, 0)]);
        assert_eq!(
            [6, 7, 30, 31].map(|at| foreign[0].ids[at]),
            [106, 7, 30, 131]
        );
        assert_eq!(foreign[1].ids[1..4], [1, 102, 3]);

        let every: Vec<usize> = (1..39).collect();
        let (own, foreign) = in_context(&[task(0, &every), task(100, &every)], &mut random);
        assert_eq!(own[0].answers.len(), 19);
        let kept = foreign[0].ids.iter().filter(|&&id| id < 100).count();
        assert_eq!(kept, 19);
    }
}
