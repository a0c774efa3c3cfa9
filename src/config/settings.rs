//! The settings that leave no trace in shapes: head count, activation, LayerNorm epsilon. Only the variables of
//! TensorFlow's Model Garden have an axis for the heads.
//!
//! The options, a config.json, Model Garden's params.yaml, the training graph and the weights must agree; the
//! defaults of the code that wrote the checkpoint apply only if none of them has a value. The weights are read
//! only if neither shapes nor the graph show the head count. A graph that shows a value in a way that no rule
//! recognises is an error, unless the user gives the value.

use candle_electra::{Activation, ElectraConfig};

use crate::config::candidate::{Candidate, ValueSource, resolve};
use crate::config::config_file::ConfigFile;
use crate::config::encoder::Encoder;
use crate::config::epsilon::Epsilon;
use crate::config::evaluated::Evaluated;
use crate::config::graph::{Findings, GraphFacts, View};
use crate::config::head_count::HeadCount;
use crate::config::keys::{ACTIVATION, EPSILON, HEADS};
use crate::config::options::ConfigOptions;
use crate::config::params::EncoderParams;
use crate::config::resolved::HeadActivation;
use crate::variables::{Code, Error, Model, follows_head_rule};

/// A setting, with everything that is known of it.
pub(super) struct Setting<T> {
    pub(super) value: T,
    pub(super) source: ValueSource,
    /// The other sources with the same value, one of each kind.
    pub(super) agreed: Vec<ValueSource>,
    /// What else is known, in words.
    pub(super) note: Option<String>,
}

impl<T> Setting<T> {
    fn new(chosen: Candidate<T>, agreed: Vec<ValueSource>) -> Self {
        Self {
            value: chosen.value,
            source: chosen.source,
            agreed,
            note: None,
        }
    }
}

/// The sources of settings.
pub(super) struct Settings<'a> {
    pub(super) options: &'a ConfigOptions,
    pub(super) view: Option<&'a View<'a>>,
    pub(super) facts: GraphFacts,
    pub(super) params: Option<&'a EncoderParams<'a>>,
    pub(super) code: Code,
}

impl Settings<'_> {
    /// Returns the number of attention heads. `in_shapes` are the numbers in the shapes of variables;
    /// `read_weights` is called only if neither they nor the graph show it.
    pub(super) fn head_count(
        &self,
        model: Model,
        encoder: Encoder,
        in_shapes: Vec<Candidate<usize>>,
        read_weights: impl FnOnce() -> Option<HeadCount>,
    ) -> Result<Setting<usize>, Error> {
        const OPTION: &str = "--num-attention-heads";
        let hidden_size = encoder.hidden_size;
        let file = self.options.file.as_ref();
        let in_file = file.map(|file| file.size(HEADS)).transpose()?.flatten();
        let given = given(OPTION, self.options.num_attention_heads, in_file);
        let in_params = self.params.map(|params| params.size(HEADS)).transpose()?;
        let evaluated = self.evaluated(|evaluated| evaluated.heads);
        let is_in_shapes = !in_shapes.is_empty();
        let mut candidates = in_shapes;
        candidates.extend(given.into_iter().chain(in_params.flatten()));
        candidates.extend(evaluated);
        let is_given = !candidates.is_empty();
        let [counts, sizes] = [&self.facts.heads.counts, &self.facts.heads.sizes];
        self.check_recognised(counts, is_given, OPTION)?;
        self.check_recognised(sizes, is_given, OPTION)?;
        candidates.extend(counts.candidates.iter().cloned());
        for size in &sizes.candidates {
            if size.value == 0 || !hidden_size.is_multiple_of(size.value) {
                let why = format!("it must divide the hidden size {hidden_size}");
                return Err(size.invalid("head size", why));
            }
            let count = hidden_size / size.value;
            candidates.push(Candidate::new(count, size.source.clone()));
        }
        let is_in_graph = !counts.candidates.is_empty() || !sizes.candidates.is_empty();
        let is_shown = is_in_shapes || is_in_graph;
        let in_weights = if is_shown { None } else { read_weights() };
        if let Some(HeadCount::Decided { count, margin }) = in_weights {
            candidates.push(Candidate::new(count, ValueSource::weights(margin)));
        }
        let agreed = others(&candidates);
        let rule = default_head_count(model, encoder);
        let heads = match (resolve(HEADS, candidates)?, &self.options.fallback) {
            (Some(heads), _) => heads,
            (None, Some(config)) => {
                Candidate::new(config.num_attention_heads, ValueSource::TransformersDefault)
            }
            (None, None) => rule.clone().ok_or_else(|| Error::UnknownHeadCount {
                model,
                hidden_size,
                weights: undecided(in_weights),
            })?,
        };
        if heads.value == 0 || !hidden_size.is_multiple_of(heads.value) {
            let why = format!(
                "it must divide the hidden size {hidden_size}; give --num-attention-heads \
                 or a matching --config"
            );
            return Err(heads.invalid(HEADS, why));
        }
        let note = note_on(&heads, rule.as_ref(), in_weights);
        let mut heads = Setting::new(heads, agreed);
        heads.note = note;
        Ok(heads)
    }

    /// Returns the activation of the feed-forward layers.
    pub(super) fn activation(&self) -> Result<Setting<Activation>, Error> {
        const OPTION: &str = "--hidden-act";
        let file = self.options.file.as_ref();
        let in_file = file.map(ConfigFile::activation).transpose()?.flatten();
        let mut given = given(OPTION, self.options.hidden_act, in_file);
        let is_given = !given.is_empty() || self.options.fallback.is_some();
        let params = self.params.map(|params| params.activation(is_given));
        given.extend(params.transpose()?.flatten());
        given.extend(self.evaluated(|evaluated| evaluated.activation));
        let found = self.find(ACTIVATION, given, &self.facts.activation, OPTION)?;
        Ok(found.unwrap_or_else(|| Setting::new(default_activation(self.code), Vec::new())))
    }

    /// Returns the epsilon of every LayerNorm.
    pub(super) fn epsilon(&self) -> Result<Setting<Epsilon>, Error> {
        const OPTION: &str = "--layer-norm-eps";
        let file = self.options.file.as_ref();
        let in_file = file.map(ConfigFile::epsilon).transpose()?.flatten();
        let mut given = given(OPTION, self.options.layer_norm_eps, in_file);
        given.extend(self.evaluated(|evaluated| evaluated.epsilon));
        let found = self.find(EPSILON, given, &self.facts.epsilon, OPTION)?;
        let default = ElectraConfig::default().layer_norm_eps;
        let default = Epsilon::new(default).expect("a small positive number");
        Ok(found.unwrap_or_else(|| {
            const RULE: &str = "LayerNorm adds 1e-12";
            let rule = match self.code {
                Code::ModelGarden => ValueSource::ModelGarden(RULE),
                Code::Original | Code::Keras => ValueSource::OriginalCode(RULE),
            };
            Setting::new(Candidate::new(default, rule), Vec::new())
        }))
    }

    /// Returns the activation of the generator's head, if the training graph shows it.
    pub(super) fn generator_head(&self) -> Result<Option<HeadActivation>, Error> {
        let findings = &self.facts.generator_head;
        if let (Some(view), Some(unrecognised)) = (self.view, &findings.unrecognised) {
            return Ok(Some(HeadActivation::Unknown(unrecognised.describe(view))));
        }
        let found = resolve(
            "the activation of generator_predictions/dense",
            findings.candidates.iter().cloned(),
        )?;
        Ok(found.map(|found| HeadActivation::Known(found.value)))
    }

    /// Returns the value that an evaluation of the graph determined.
    fn evaluated<T>(&self, value: impl Fn(&Evaluated) -> Option<T>) -> Option<Candidate<T>> {
        let evaluated = self.options.evaluated.as_ref()?;
        evaluated.candidate(value(evaluated))
    }

    /// Resolves the given values and those in the graph; `None` if there is none.
    fn find<T: Clone + PartialEq + std::fmt::Display>(
        &self,
        key: &'static str,
        mut candidates: Vec<Candidate<T>>,
        findings: &Findings<T>,
        option: &'static str,
    ) -> Result<Option<Setting<T>>, Error> {
        self.check_recognised(findings, !candidates.is_empty(), option)?;
        candidates.extend(findings.candidates.iter().cloned());
        let agreed = others(&candidates);
        Ok(resolve(key, candidates)?.map(|found| Setting::new(found, agreed)))
    }

    /// Fails if the graph shows something that no rule recognises, unless a given value replaces it.
    fn check_recognised<T>(
        &self,
        findings: &Findings<T>,
        is_given: bool,
        option: &'static str,
    ) -> Result<(), Error> {
        let is_given = is_given || self.options.fallback.is_some();
        match (self.view, &findings.unrecognised) {
            (Some(view), Some(unrecognised)) if !is_given || unrecognised.is_foreign() => {
                Err(unrecognised.error(view, option))
            }
            _ => Ok(()),
        }
    }
}

/// The candidates that the user gives, in order: an option, then a config.json.
fn given<T>(
    option: &'static str,
    value: Option<T>,
    in_file: Option<Candidate<T>>,
) -> Vec<Candidate<T>> {
    let value = value.map(|value| Candidate::new(value, ValueSource::Option(option)));
    value.into_iter().chain(in_file).collect()
}

/// Returns the sources after the first, one of each kind.
fn others<T>(candidates: &[Candidate<T>]) -> Vec<ValueSource> {
    let mut kinds: Vec<&str> = Vec::new();
    let mut sources = Vec::new();
    for Candidate { source, .. } in candidates {
        if !kinds.contains(&source.key()) {
            kinds.push(source.key());
            sources.push(source.clone());
        }
    }
    sources.into_iter().skip(1).collect()
}

/// Returns the activation of a training run that did not set another. Model Garden's `gelu` is the tanh
/// approximation (`modeling/activations/gelu.py`).
fn default_activation(code: Code) -> Candidate<Activation> {
    match code {
        Code::ModelGarden => Candidate::new(
            Activation::GeluNew,
            ValueSource::ModelGarden(
                "hidden_activation: gelu, which is the tanh approximation, unless the training run set another",
            ),
        ),
        Code::Original | Code::Keras => Candidate::new(
            Activation::Gelu,
            ValueSource::OriginalCode("gelu, unless the training run set another"),
        ),
    }
}

/// Returns the head count by the original code's rule, for a model of which no source has it; `None` if the
/// rule does not apply. The original code computes the head count of a generator with its own encoder; for
/// every other encoder it is a hyperparameter with a default.
fn default_head_count(model: Model, encoder: Encoder) -> Option<Candidate<usize>> {
    const SIZE: usize = 64;
    let rule = if follows_head_rule(model, encoder.scopes) {
        "a generator has max(1, hidden size / 64) heads"
    } else if encoder.hidden_size.is_multiple_of(SIZE) {
        "hidden size / 64, unless the training run set another"
    } else {
        return None;
    };
    let heads = (encoder.hidden_size / SIZE).max(1);
    Some(Candidate::new(heads, ValueSource::OriginalCode(rule)))
}

/// Describes what the weights show where they do not decide.
fn undecided(in_weights: Option<HeadCount>) -> &'static str {
    match in_weights {
        Some(_) => "the weights do not decide",
        None => "the weights were not read",
    }
}

/// Describes how the head count compares with the original code's rule, and what the weights show where the
/// rule decides.
fn note_on(
    heads: &Candidate<usize>,
    rule: Option<&Candidate<usize>>,
    in_weights: Option<HeadCount>,
) -> Option<String> {
    if matches!(heads.source, ValueSource::OriginalCode(_)) {
        let why = undecided(in_weights);
        return Some(format!(
            "{why}: compare it with your training configuration"
        ));
    }
    let rule = rule.filter(|rule| rule.value != heads.value)?;
    Some(format!("hidden size / 64 would be {}", rule.value))
}
