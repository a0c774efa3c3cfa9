//! Decides from the vocabulary whether text is lower-cased and accents are stripped.
//!
//! A setting is possible if the tokens can be produced under it: normalising a token gives the token itself.
//! Without lower-casing and without stripping every token can be produced, so that the decision depends on the
//! tokens that each of the two would lose ([`Evidence`]):
//!
//! - none or a few odd tokens: the default of the original code (lower-case, strip accents);
//! - a whole class of tokens (words, an alphabet): the model was trained without the setting;
//! - anything between: the more likely value, with a warning that names the tokens and the option.
//!
//! A vocabulary of decomposed Hangul is the reverse case: text is composed, so that its tokens can be produced
//! *only* if accents are stripped, because stripping decomposes.

use super::evidence::{Evidence, Tokens, Verdict};
use super::text::grouped;
use super::vocabulary::Vocabulary;

/// The settings of a tokenizer, with their sources.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// True if text is lower-cased.
    pub do_lower_case: bool,
    /// The source of `do_lower_case`: the option or the evidence.
    pub do_lower_case_from: String,
    /// Whether accents are stripped; `None` as in the original code, which strips them if it lower-cases.
    pub strip_accents: Option<bool>,
    /// The source of `strip_accents`: the option or the evidence.
    pub strip_accents_from: String,
    /// The effect of each setting on the tokens of the vocabulary.
    pub evidence: Evidence,
    /// Warnings about weak evidence, and about options that contradict the evidence.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Decides by the options, else by the vocabulary, else by the default of the original code.
    pub fn new(
        vocabulary: &Vocabulary,
        do_lower_case: Option<bool>,
        strip_accents: Option<bool>,
    ) -> Self {
        let mut settings = Self {
            do_lower_case: true,
            do_lower_case_from: String::new(),
            strip_accents: None,
            strip_accents_from: String::new(),
            evidence: Evidence::of(vocabulary),
            warnings: Vec::new(),
        };
        settings.decide_case(do_lower_case);
        settings.decide_accents(strip_accents);
        settings.warn_of_unmatched_tokens(vocabulary);
        settings
    }

    /// True if accents are stripped.
    pub fn strips_accents(&self) -> bool {
        self.strip_accents.unwrap_or(self.do_lower_case)
    }

    fn decide_case(&mut self, stated: Option<bool>) {
        const OPTION: &str = "--do-lower-case";
        let evidence = &self.evidence;
        let lost = &evidence.lost_by_lower_casing;
        let found = change("lower-casing", lost, evidence.with_case, "tokens with case");
        let verdict = evidence.case();
        if let Some(stated) = stated {
            if stated && verdict == Verdict::Yes {
                self.warnings.push(format!("{OPTION} true, but {found}"));
            }
            self.do_lower_case = stated;
            OPTION.clone_into(&mut self.do_lower_case_from);
            return;
        }
        self.do_lower_case = matches!(verdict, Verdict::No | Verdict::Unclear(false));
        if matches!(verdict, Verdict::Unclear(_)) {
            let value = self.do_lower_case;
            self.warnings.push(format!(
                "it is not certain that text is {}: {found}; {OPTION} {} decides otherwise",
                if value { "lower-cased" } else { "cased" },
                !value
            ));
        }
        self.do_lower_case_from = found;
    }

    fn decide_accents(&mut self, stated: Option<bool>) {
        const OPTION: &str = "--strip-accents";
        let evidence = &self.evidence;
        let lost = &evidence.lost_by_stripping;
        let mut found = change("stripping accents", lost, evidence.tokens, "tokens");
        let only = &evidence.only_by_stripping;
        let needed = evidence.needs_stripping();
        if needed {
            found.push_str(&format!(
                " and produces {} decomposed ones ({})",
                grouped(only.count),
                only.listed()
            ));
        }
        let verdict = evidence.accents();
        let keeps = verdict == Verdict::Yes;
        if let Some(stated) = stated {
            if stated && keeps && !needed {
                self.warnings.push(format!("{OPTION} true, but {found}"));
            }
            self.strip_accents = Some(stated);
            OPTION.clone_into(&mut self.strip_accents_from);
            return;
        }
        let follows = self.do_lower_case;
        self.strip_accents = match (verdict, needed) {
            // The original code strips accents only if it lower-cases.
            _ if !follows => keeps.then_some(false),
            (Verdict::Yes | Verdict::Unclear(_), true) => Some(only.count > lost.count),
            (Verdict::No, true) => Some(true),
            (Verdict::Yes | Verdict::Unclear(true), false) => Some(false),
            (Verdict::No | Verdict::Unclear(false), false) => None,
        };
        if !follows && self.strip_accents.is_none() && !needed {
            "the original code strips accents only if it lower-cases"
                .clone_into(&mut self.strip_accents_from);
            return;
        }
        let strips = self.strip_accents.unwrap_or(follows);
        let is_unclear = match verdict {
            Verdict::Unclear(_) => follows,
            Verdict::Yes => follows && needed,
            Verdict::No => false,
        };
        if is_unclear || (needed && !follows) {
            self.warnings.push(format!(
                "it is not certain that accents are {}: {found}; {OPTION} {} decides otherwise",
                if strips { "stripped" } else { "kept" },
                !strips
            ));
        }
        self.strip_accents_from = found;
    }

    /// Warns about many tokens that ordinary text does not produce under any setting.
    fn warn_of_unmatched_tokens(&mut self, vocabulary: &Vocabulary) {
        let decomposed = &self.evidence.decomposed;
        if self.evidence.has_many_decomposed() && !self.strips_accents() {
            self.warnings.push(format!(
                "{} of {} tokens have decomposed accents ({}): they match only text in which accents \
                 are decomposed too (Unicode NFD), and no tokenizer decomposes text",
                grouped(decomposed.count),
                grouped(vocabulary.len()),
                decomposed.listed()
            ));
        }
        let split = &self.evidence.split_words;
        if self.evidence.has_many_split_words() {
            self.warnings.push(format!(
                "{} of {} tokens are words with Chinese characters ({}): the original code's tokenizer \
                 splits them and never produces such a token; if the model was trained with another \
                 tokenizer (such as MeCab), the tokenizer files do not reproduce it (--vocab none \
                 leaves them out)",
                grouped(split.count),
                grouped(vocabulary.len()),
                split.listed()
            ));
        }
    }
}

/// Describes the evidence: `lower-casing changes 26 of 11,568 tokens ("A", …)`.
fn change(what: &str, lost: &Tokens, total: usize, noun: &str) -> String {
    let total = grouped(total);
    match lost.count {
        0 => format!("{what} changes none of {total} {noun}"),
        n => format!(
            "{what} changes {} of {total} {noun} ({})",
            grouped(n),
            lost.listed()
        ),
    }
}
