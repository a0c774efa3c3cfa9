//! Finds the configuration of a model in its variables.
//!
//! Sizes come from shapes: the name table says which axis of which variable is which size, and all
//! of them, in all layers, must agree. Head count, activation and LayerNorm epsilon leave no trace in
//! shapes; they come from the options, a config.json and the training graph, which must agree, else
//! from the original code's own rules. What a training graph shows and no rule recognises is an error
//! unless the user states the value. Every value is kept with its [`ValueSource`].

use std::collections::{BTreeMap, BTreeSet};

use candle_electra::{Activation, Dim, ElectraConfig, ModelClass, Part};
use serde_json::Value;
use tf_checkpoint::MetaGraph;

use super::graph::{Findings, GraphFacts, ModelScopes, View};
use crate::config::candidate::{Candidate, ValueSource, resolve};
use crate::config::epsilon::Epsilon;
use crate::config::options::{
    ACTIVATION, CARRIED, ConfigFile, ConfigOptions, EPSILON, HEADS, LAYERS,
};
use crate::variables::names::{self, Scopes, TABLE};
use crate::variables::{Error, Inventory, Model, follows_head_rule};

/// Values that must be these, if a config.json has them at all.
const FIXED: &[(&str, &[&str])] = &[
    ("model_type", &["electra", "bert"]),
    ("position_embedding_type", &["absolute"]),
];

/// A configuration with the source of each value that was not simply fixed.
#[derive(Clone, Debug)]
pub struct ResolvedConfig {
    /// The configuration, without `dtype`, which the plan decides.
    pub config: ElectraConfig,
    /// Where each value comes from, by key.
    pub sources: BTreeMap<&'static str, ValueSource>,
    /// The activation of the generator's head, where the training graph shows it.
    pub generator_head: Option<HeadActivation>,
}

/// The activation of a head by the training graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadActivation {
    /// One that transformers has.
    Known(Activation),
    /// One that is not recognised: what the graph shows.
    Unknown(String),
}

/// Infers the configuration of the model in `scopes`.
pub fn resolve_config(
    inventory: &Inventory,
    model: Model,
    (class, scopes): (ModelClass, Scopes),
    graph: Option<&MetaGraph>,
    stated: &ConfigOptions,
) -> Result<ResolvedConfig, Error> {
    let file = stated.config.as_ref();
    if let Some(file) = file {
        check_fixed(file)?;
    }
    let mut sources = BTreeMap::new();
    let (mut sizes, layers) = read_shapes(inventory, class, scopes)?;
    let layers = count_layers(&layers, model, scopes)?;

    let mut size = |dim: Dim| -> Result<usize, Error> {
        let mut claims = sizes.remove(&dim).unwrap_or_default();
        if claims.is_empty() {
            return Err(nothing_tells(dim, model, class, scopes));
        }
        claims.extend(stated_size(file, dim.key())?);
        let claim = resolve(dim.key(), claims)?.expect("not empty");
        if claim.value == 0 {
            return Err(impossible(dim.key(), &claim, "it must be positive"));
        }
        sources.insert(dim.key(), claim.source);
        Ok(claim.value)
    };
    let vocab_size = size(Dim::Vocab)?;
    let embedding_size = size(Dim::Embedding)?;
    let max_position_embeddings = size(Dim::Position)?;
    let type_vocab_size = size(Dim::TokenType)?;
    let hidden_size = size(Dim::Hidden)?;
    let intermediate_size = size(Dim::Intermediate)?;

    let layers = resolve(
        LAYERS,
        [layers].into_iter().chain(stated_size(file, LAYERS)?),
    )?
    .expect("not empty");

    let view = graph.map(|graph| View::new(graph, inventory));
    let scopes_of = ModelScopes {
        embeddings: scopes.embeddings,
        layers: (0..layers.value)
            .map(|layer| names::layer_scope(scopes, layer))
            .collect(),
        has_discriminator_head: class.head() == Some(Part::DiscriminatorHead),
        has_generator_head: class.head() == Some(Part::GeneratorHead),
    };
    let facts = view
        .as_ref()
        .map(|view| GraphFacts::read(view, &scopes_of))
        .unwrap_or_default();
    let view = view.as_ref();
    let heads = head_count(model, scopes, hidden_size, (view, &facts), stated)?;
    let activation = activation((view, &facts), stated)?;
    let epsilon = epsilon((view, &facts), stated)?;
    let generator_head = match (view, &facts.generator_head) {
        (
            Some(view),
            Findings {
                not_understood: Some(unknown),
                ..
            },
        ) => Some(HeadActivation::Unknown(unknown.describe(view))),
        (_, findings) => resolve(
            "the activation of generator_predictions/dense",
            findings.claims.iter().cloned(),
        )?
        .map(|claim| HeadActivation::Known(claim.value)),
    };

    let config = ElectraConfig {
        architectures: vec![class.name().to_owned()],
        vocab_size,
        embedding_size,
        max_position_embeddings,
        type_vocab_size,
        hidden_size,
        intermediate_size,
        num_hidden_layers: layers.value,
        num_attention_heads: heads.value,
        hidden_act: activation.value,
        layer_norm_eps: epsilon.value.value(),
        ..carried(file, &mut sources)?
    };
    sources.insert(LAYERS, layers.source);
    sources.insert(HEADS, heads.source);
    sources.insert(ACTIVATION, activation.source);
    sources.insert(EPSILON, epsilon.source);
    Ok(ResolvedConfig {
        config,
        sources,
        generator_head,
    })
}

/// The size claims of every variable of the model, and the layers that occur.
type Shapes = (BTreeMap<Dim, Vec<Candidate<usize>>>, BTreeSet<usize>);

fn read_shapes(inventory: &Inventory, class: ModelClass, scopes: Scopes) -> Result<Shapes, Error> {
    let mut sizes: BTreeMap<Dim, Vec<Candidate<usize>>> = BTreeMap::new();
    let mut layers = BTreeSet::new();
    for item in inventory.items() {
        let Some(found) = names::lookup(&item.name) else {
            continue;
        };
        let belongs = match found.rule.part() {
            Part::Embeddings => found.scope == Some(scopes.embeddings),
            Part::Projection | Part::Layer => found.scope == Some(scopes.body),
            part => class.head() == Some(part),
        };
        if !belongs {
            continue;
        }
        layers.extend(found.layer);
        let (shape, dims) = (&item.variable.shape, found.rule.dims());
        if shape.len() != dims.len() {
            return Err(wrong_shape(item.name.as_str(), shape, &dims));
        }
        for (&size, &dim) in std::iter::zip(shape, &dims) {
            if dim == Dim::One && size != 1 {
                return Err(wrong_shape(item.name.as_str(), shape, &dims));
            }
            sizes
                .entry(dim)
                .or_default()
                .push(Candidate::new(size, ValueSource::Shape(item.name.clone())));
        }
    }
    Ok((sizes, layers))
}

/// Layers must be numbered from 0 without a gap. Counted by how many there are, so that a single
/// `layer_999999999` claims nothing.
fn count_layers(
    layers: &BTreeSet<usize>,
    model: Model,
    scopes: Scopes,
) -> Result<Candidate<usize>, Error> {
    let gap = std::iter::zip(0.., layers)
        .find(|(expected, found)| expected != *found)
        .map(|(expected, _)| expected);
    let missing = if layers.is_empty() { Some(0) } else { gap };
    if let Some(layer) = missing {
        let rules = TABLE.iter().filter(|rule| rule.part() == Part::Layer);
        return Err(Error::Missing {
            model,
            needed: rules.clone().count() * layers.len().max(1),
            names: rules.map(|rule| rule.variable(scopes, layer)).collect(),
            is_head: false,
        });
    }
    Ok(Candidate::new(
        layers.len(),
        ValueSource::Layers(scopes.body),
    ))
}

/// A training graph, and what it shows.
type Graph<'a> = (Option<&'a View<'a>>, &'a GraphFacts);

/// Fails where the graph shows something that no rule recognises and no stated value settles it.
fn check_understood<T>(
    view: Option<&View<'_>>,
    findings: &Findings<T>,
    is_stated: bool,
    option: &'static str,
) -> Result<(), Error> {
    match (view, &findings.not_understood) {
        (Some(view), Some(unknown)) if !is_stated || unknown.is_foreign() => {
            Err(unknown.error(view, option))
        }
        _ => Ok(()),
    }
}

fn head_count(
    model: Model,
    scopes: Scopes,
    hidden_size: usize,
    (view, facts): Graph<'_>,
    stated: &ConfigOptions,
) -> Result<Candidate<usize>, Error> {
    const OPTION: &str = "--num-attention-heads";
    let mut claims = Vec::new();
    if let Some(heads) = stated.num_attention_heads {
        claims.push(Candidate::new(heads, ValueSource::Option(OPTION)));
    }
    claims.extend(stated_size(stated.config.as_ref(), HEADS)?);
    let is_stated = !claims.is_empty() || stated.fallback.is_some();
    check_understood(view, &facts.heads, is_stated, OPTION)?;
    check_understood(view, &facts.head_sizes, is_stated, OPTION)?;
    claims.extend(facts.heads.claims.iter().cloned());
    for size in &facts.head_sizes.claims {
        if size.value == 0 || !hidden_size.is_multiple_of(size.value) {
            return Err(Error::Impossible {
                key: "head size",
                value: size.value.to_string(),
                origin: format!("{:#}", size.source),
                why: format!("it does not divide the hidden size {hidden_size}"),
            });
        }
        claims.push(Candidate::new(
            hidden_size / size.value,
            size.source.clone(),
        ));
    }
    let heads = match resolve(HEADS, claims)? {
        Some(heads) => heads,
        None => match &stated.fallback {
            Some(config) => {
                Candidate::new(config.num_attention_heads, ValueSource::TransformersDefault)
            }
            None => default_head_count(model, scopes, hidden_size)?,
        },
    };
    if heads.value == 0 || !hidden_size.is_multiple_of(heads.value) {
        let why = format!(
            "it must divide the hidden size {hidden_size}; give --num-attention-heads \
             or a --config that fits"
        );
        return Err(impossible(HEADS, &heads, &why));
    }
    Ok(heads)
}

/// The head count where nothing shows it. The original code computes that of a generator with an
/// encoder of its own; that of any other encoder is a hyperparameter with a default.
fn default_head_count(
    model: Model,
    scopes: Scopes,
    hidden_size: usize,
) -> Result<Candidate<usize>, Error> {
    const SIZE: usize = 64;
    let rule = if follows_head_rule(model, scopes) {
        "a generator has max(1, hidden size / 64) heads"
    } else if hidden_size.is_multiple_of(SIZE) {
        "hidden size / 64, unless the training run set another"
    } else {
        return Err(Error::UnknownHeadCount { model, hidden_size });
    };
    let heads = (hidden_size / SIZE).max(1);
    Ok(Candidate::new(heads, ValueSource::OriginalCode(rule)))
}

fn activation(
    (view, facts): Graph<'_>,
    stated: &ConfigOptions,
) -> Result<Candidate<Activation>, Error> {
    const OPTION: &str = "--hidden-act";
    let mut claims = Vec::new();
    if let Some(activation) = stated.hidden_act {
        claims.push(Candidate::new(activation, ValueSource::Option(OPTION)));
    }
    if let Some(file) = &stated.config
        && let Some(value) = file.values.get(ACTIVATION)
    {
        let source = ValueSource::ConfigFile(file.path.clone());
        let activation = serde_json::from_value(value.clone()).map_err(|_| {
            let names = Activation::ALL.map(Activation::key).join(", ");
            impossible(
                ACTIVATION,
                &Candidate::new(value, source.clone()),
                &format!("the ones known are {names}"),
            )
        })?;
        claims.push(Candidate::new(activation, source));
    }
    let is_stated = !claims.is_empty() || stated.fallback.is_some();
    check_understood(view, &facts.activation, is_stated, OPTION)?;
    claims.extend(facts.activation.claims.iter().cloned());
    Ok(resolve(ACTIVATION, claims)?.unwrap_or_else(|| {
        let rule = "gelu, unless the training run set another";
        Candidate::new(Activation::Gelu, ValueSource::OriginalCode(rule))
    }))
}

fn epsilon((view, facts): Graph<'_>, stated: &ConfigOptions) -> Result<Candidate<Epsilon>, Error> {
    const OPTION: &str = "--layer-norm-eps";
    let mut claims = Vec::new();
    if let Some(epsilon) = stated.layer_norm_eps {
        claims.push(Candidate::new(epsilon, ValueSource::Option(OPTION)));
    }
    if let Some(file) = &stated.config
        && let Some(value) = file.values.get(EPSILON)
    {
        let source = ValueSource::ConfigFile(file.path.clone());
        let epsilon = value.as_f64().and_then(Epsilon::new).ok_or_else(|| {
            let claim = Candidate::new(value, source.clone());
            impossible(EPSILON, &claim, "it must be a number of 0 or more")
        })?;
        claims.push(Candidate::new(epsilon, source));
    }
    let is_stated = !claims.is_empty() || stated.fallback.is_some();
    check_understood(view, &facts.epsilon, is_stated, OPTION)?;
    claims.extend(facts.epsilon.claims.iter().cloned());
    let default = Epsilon::new(ElectraConfig::default().layer_norm_eps).expect("a small number");
    Ok(resolve(EPSILON, claims)?.unwrap_or_else(|| {
        Candidate::new(default, ValueSource::OriginalCode("LayerNorm adds 1e-12"))
    }))
}

/// A size that the config file states.
fn stated_size(
    file: Option<&ConfigFile>,
    key: &'static str,
) -> Result<Option<Candidate<usize>>, Error> {
    let Some((file, value)) = file.and_then(|file| Some((file, file.values.get(key)?))) else {
        return Ok(None);
    };
    let source = ValueSource::ConfigFile(file.path.clone());
    match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
        Some(size) => Ok(Some(Candidate::new(size, source))),
        None => Err(impossible(
            key,
            &Candidate::new(value, source),
            "it must be a whole number",
        )),
    }
}

fn check_fixed(file: &ConfigFile) -> Result<(), Error> {
    for (key, allowed) in FIXED {
        let Some(value) = file.values.get(*key) else {
            continue;
        };
        if !value.as_str().is_some_and(|v| allowed.contains(&v)) {
            let claim = Candidate::new(value, ValueSource::ConfigFile(file.path.clone()));
            let why = format!("an ELECTRA has {}", allowed.join(" or "));
            return Err(impossible(key, &claim, &why));
        }
    }
    Ok(())
}

/// The defaults, with what the config file states of them.
fn carried(
    file: Option<&ConfigFile>,
    sources: &mut BTreeMap<&'static str, ValueSource>,
) -> Result<ElectraConfig, Error> {
    let defaults = serde_json::to_value(ElectraConfig::default()).expect("plain data");
    let Value::Object(mut values) = defaults else {
        unreachable!("a struct is an object");
    };
    for &key in CARRIED {
        let stated = file.and_then(|file| Some((file, file.values.get(key)?)));
        let Some((file, value)) = stated else {
            sources.insert(key, ValueSource::TransformersDefault);
            continue;
        };
        let source = ValueSource::ConfigFile(file.path.clone());
        values.insert(key.to_owned(), value.clone());
        // One key at a time, so that the error can name it.
        serde_json::from_value::<ElectraConfig>(Value::Object(values.clone())).map_err(
            |error| {
                impossible(
                    key,
                    &Candidate::new(value, source.clone()),
                    &error.to_string(),
                )
            },
        )?;
        sources.insert(key, source);
    }
    Ok(serde_json::from_value(Value::Object(values)).expect("every key was checked"))
}

fn nothing_tells(dim: Dim, model: Model, class: ModelClass, scopes: Scopes) -> Error {
    let parts = [Some(Part::Embeddings), Some(Part::Layer), class.head()];
    let names: Vec<String> = TABLE
        .iter()
        .filter(|rule| rule.dims().contains(&dim) && parts.contains(&Some(rule.part())))
        .map(|rule| rule.variable(scopes, 0))
        .collect();
    Error::Missing {
        model,
        needed: names.len(),
        names,
        is_head: false,
    }
}

fn impossible<T: std::fmt::Display>(key: &'static str, claim: &Candidate<T>, why: &str) -> Error {
    Error::Impossible {
        key,
        value: claim.value.to_string(),
        origin: format!("{:#}", claim.source),
        why: why.to_owned(),
    }
}

fn wrong_shape(variable: &str, shape: &[usize], dims: &[Dim]) -> Error {
    let dims: Vec<&str> = dims.iter().map(|dim| dim.key()).collect();
    Error::WrongKind {
        variable: variable.to_owned(),
        found: format!("the shape {shape:?}"),
        expected: format!("[{}]", dims.join(", ")),
    }
}
