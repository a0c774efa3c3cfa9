//! The command `probe`.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;

use crate::Error;
use crate::export::CONFIG_FILE;
use crate::probe::detect::{THRESHOLD, detect, game};
use crate::probe::fill::fill;
use crate::probe::{Error as ProbeError, Probe, Tokens};
use crate::report::{
    Answer, Command, Document, PieceProbability, ProbeReport, Status, TextReport, TokenReport,
};
use crate::verify::{Error as VerifyError, check_files};
use anstyle::{Ansi256Color, Color, Style};
use anyhow::Context as _;
use tf_checkpoint::address::Use;
use tf_checkpoint::storage::regular;
use unicode_width::UnicodeWidthStr as _;

use super::args::ProbeArgs;
use super::caller::Caller;
use super::exit::Usage;
use super::text::{self, HEADING, bar, columns, printable};
use super::{input, report};

/// Colours by the probability that a token was replaced: green, yellow, red.
const SCALE: [u8; 6] = [34, 70, 142, 178, 208, 196];
/// The longest text read, in bytes.
const MAX_TEXT_LEN: u64 = 16 << 20;
/// Width of a line of words with numbers under them.
const LINE_WIDTH: usize = 76;

/// Runs one model on texts; with two, the generator replaces tokens and the discriminator finds them.
pub(crate) fn run(args: &ProbeArgs, caller: &Caller<'_>) -> anyhow::Result<()> {
    input::refuse_address("DIR", &args.folder, Use::Input)?;
    let (second, words) = second_folder(&args.words)?;
    let texts = texts(args, words)?;
    if texts.is_empty() {
        return Err(Usage("there is no text: give some behind DIR".to_owned()).into());
    }
    let first = load(&args.folder)?;
    let second = second.map(load).transpose()?;
    let mut random = fastrand::Rng::with_seed(args.seed);

    let mut reports = Vec::new();
    for text in &texts {
        let tokens = first.tokenize(text).map_err(wrap)?;
        if tokens.cut > 0 {
            caller.warn([format!(
                "the text is {} too long for this model and was cut",
                text::count(tokens.cut, "token")
            )]);
        }
        let answer: Answer = match &second {
            Some(second) => game(&first, second, &tokens, &mut random)
                .map_err(wrap)?
                .into(),
            None if first.is_generator() => fill(&first, &tokens).map_err(wrap)?.into(),
            None => detect(&first, &tokens).map_err(wrap)?.into(),
        };
        let report = TextReport::new(text.clone(), &tokens, answer);
        if args.json {
            reports.push(report);
        } else {
            report::print_text(&answer_text(&report.answer, &tokens))?;
        }
    }
    if args.json {
        let body = ProbeReport::new(reports);
        caller.document(&Document::new(Command::Probe, Status::Probed, body))?;
    }
    Ok(())
}

fn load(folder: &Path) -> anyhow::Result<Probe> {
    check_files(folder).map_err(Error::from)?;
    Ok(Probe::load(folder).map_err(wrap)?)
}

/// Reports a directory that cannot be loaded as `verify` does.
fn wrap(error: ProbeError) -> Error {
    match error {
        ProbeError::Load(error) => VerifyError::from(error).into(),
        error => VerifyError::from(error).into(),
    }
}

/// Splits the directory of a second model off the words; it comes before the text.
fn second_folder(words: &[OsString]) -> anyhow::Result<(Option<&Path>, &[OsString])> {
    let Some((first, rest)) = words.split_first() else {
        return Ok((None, words));
    };
    let config = Path::new(first).join(CONFIG_FILE);
    match regular::kind(&config) {
        Ok(Some(_)) => Ok((Some(Path::new(first)), rest)),
        Ok(None) => Ok((None, words)),
        // A text is not the name of a directory.
        Err(error) if error.kind() == io::ErrorKind::InvalidFilename => Ok((None, words)),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", config.display())),
    }
}

fn texts(args: &ProbeArgs, words: &[OsString]) -> anyhow::Result<Vec<String>> {
    let lines = |text: String| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.map(str::to_owned).collect()
    };
    if !words.is_empty() {
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        return Ok(vec![words.join(" ")]);
    }
    if let Some(path) = &args.file {
        return Ok(lines(input::read_text("--file", path, MAX_TEXT_LEN)?));
    }
    if io::stdin().is_terminal() {
        let usage = "give a text, such as: electra-convert probe DIR 'The [MASK] sat on the mat.'";
        return Err(Usage(usage.to_owned()).into());
    }
    let mut text = String::new();
    io::stdin()
        .take(MAX_TEXT_LEN + 1)
        .read_to_string(&mut text)
        .context("cannot read standard input")?;
    if text.len() as u64 > MAX_TEXT_LEN {
        let most = text::bytes(MAX_TEXT_LEN);
        return Err(Usage(format!("the text on standard input is longer than {most}")).into());
    }
    Ok(lines(text))
}

/// The printed answer to a text.
fn answer_text(answer: &Answer, tokens: &Tokens) -> String {
    let mut out = String::new();
    match answer {
        Answer::Masks(masks) => {
            let line = tokens.pieces.join(" ");
            out.push_str(&format!("{HEADING}{}{HEADING:#}\n", printable(&line)));
            for (n, mask) in masks.iter().enumerate() {
                if n > 0 {
                    out.push('\n');
                }
                out.push_str(&bars(&mask.candidates));
            }
        }
        Answer::Words(words) => out.push_str(&bars(words)),
        Answer::Tokens(tokens) => out.push_str(&suspects_text(tokens)),
    }
    out.push('\n');
    out
}

fn bars(candidates: &[PieceProbability]) -> String {
    let rows: Vec<[String; 3]> = candidates
        .iter()
        .map(|c| {
            [
                c.piece.clone(),
                format!("{:.3}", c.probability),
                bar(c.probability),
            ]
        })
        .collect();
    columns(3, &rows)
}

/// The text with each token coloured, or with numbers below, and the list of tokens that look replaced.
fn suspects_text(suspects: &[TokenReport]) -> String {
    let choice = anstream::AutoStream::choice(&io::stdout());
    let mut out = if choice == anstream::ColorChoice::Never {
        numbered(suspects)
    } else {
        coloured(suspects)
    };
    let found: Vec<&TokenReport> = suspects
        .iter()
        .filter(|suspect| suspect.replaced > THRESHOLD || suspect.original.is_some())
        .collect();
    let rows: Vec<[String; 3]> = found
        .iter()
        .map(|suspect| {
            let verdict = match (suspect.replaced > THRESHOLD, &suspect.original) {
                (true, Some(original)) => format!("found (it was {original})"),
                (false, Some(original)) => format!("missed (it was {original})"),
                (true, None) => "looks replaced".to_owned(),
                (false, None) => String::new(),
            };
            [
                suspect.piece.clone(),
                format!("{:.0} %", suspect.replaced * 100.0),
                verdict,
            ]
        })
        .collect();
    if rows.is_empty() {
        out.push_str("  no token looks replaced\n");
    }
    out.push_str(&columns(3, &rows));
    out
}

fn coloured(suspects: &[TokenReport]) -> String {
    let mut out = String::new();
    for (n, suspect) in suspects.iter().enumerate() {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a step of a short scale"
        )]
        let step = (suspect.replaced * SCALE.len() as f32) as usize;
        let colour = Color::Ansi256(Ansi256Color(SCALE[step.min(SCALE.len() - 1)]));
        let style = Style::new().fg_color(Some(colour));
        let piece = match suspect.piece.strip_prefix("##") {
            Some(rest) if n > 0 => rest,
            _ => {
                if n > 0 {
                    out.push(' ');
                }
                suspect.piece.as_str()
            }
        };
        out.push_str(&format!("{style}{}{style:#}", printable(piece)));
    }
    out.push('\n');
    out
}

fn numbered(suspects: &[TokenReport]) -> String {
    let mut out = String::new();
    let (mut words, mut numbers) = (String::new(), String::new());
    let mut width = 0;
    for suspect in suspects {
        let piece = printable(&suspect.piece).into_owned();
        let number = format!("{:.0}%", suspect.replaced * 100.0);
        let cell = piece.width().max(number.len()) + 1;
        if width > 0 && width + cell > LINE_WIDTH {
            out.push_str(&format!("{}\n{}\n\n", words.trim_end(), numbers.trim_end()));
            words.clear();
            numbers.clear();
            width = 0;
        }
        words.push_str(&piece);
        words.push_str(&" ".repeat(cell - piece.width()));
        numbers.push_str(&format!("{number:<cell$}"));
        width += cell;
    }
    out.push_str(&format!("{}\n{}\n", words.trim_end(), numbers.trim_end()));
    out
}
