//! Finds the configuration of a model in its variables.
//!
//! Sizes come from shapes: the name table says which axis of which variable is which size, and all
//! of them, in all layers, must agree. Head count, activation and LayerNorm epsilon leave no trace in
//! shapes; they come from the options, a config.json and the training graph, which must agree, else
//! from the original code's own rules. What a training graph shows and no rule recognises is an error
//! unless the user states the value. Every value is kept with its [`Source`].

use std::collections::{BTreeMap, BTreeSet};

use candle_electra::{Activation, Dim, ElectraConfig, ModelClass, Part};
use serde_json::Value;
use tf_checkpoint::MetaGraph;

use super::graph::{Findings, GraphFacts, ModelScopes, View};
use crate::config::candidate::{Claim, Source, agree};
use crate::config::epsilon::Epsilon;
use crate::config::options::{ACTIVATION, CARRIED, ConfigFile, EPSILON, HEADS, LAYERS, Stated};
use crate::variables::names::{self, Scopes, TABLE};
use crate::variables::{Error, Inventory, Model, follows_head_rule};

/// Values that must be these, if a config.json has them at all.
const FIXED: &[(&str, &[&str])] = &[
    ("model_type", &["electra", "bert"]),
    ("position_embedding_type", &["absolute"]),
];

/// A configuration with the source of each value that was not simply fixed.
#[derive(Clone, Debug)]
pub struct Inferred {
    /// The configuration, without `dtype`, which the plan decides.
    pub config: ElectraConfig,
    /// Where each value comes from, by key.
    pub sources: BTreeMap<&'static str, Source>,
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
pub fn infer(
    inventory: &Inventory,
    model: Model,
    (class, scopes): (ModelClass, Scopes),
    graph: Option<&MetaGraph>,
    stated: &Stated,
) -> Result<Inferred, Error> {
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
        let claim = agree(dim.key(), claims)?.expect("not empty");
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

    let layers = agree(
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
        (_, findings) => agree(
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
    Ok(Inferred {
        config,
        sources,
        generator_head,
    })
}

/// The size claims of every variable of the model, and the layers that occur.
type Shapes = (BTreeMap<Dim, Vec<Claim<usize>>>, BTreeSet<usize>);

fn read_shapes(inventory: &Inventory, class: ModelClass, scopes: Scopes) -> Result<Shapes, Error> {
    let mut sizes: BTreeMap<Dim, Vec<Claim<usize>>> = BTreeMap::new();
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
                .push(Claim::new(size, Source::Shape(item.name.clone())));
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
) -> Result<Claim<usize>, Error> {
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
    Ok(Claim::new(layers.len(), Source::Layers(scopes.body)))
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
    stated: &Stated,
) -> Result<Claim<usize>, Error> {
    const OPTION: &str = "--num-attention-heads";
    let mut claims = Vec::new();
    if let Some(heads) = stated.num_attention_heads {
        claims.push(Claim::new(heads, Source::Option(OPTION)));
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
        claims.push(Claim::new(hidden_size / size.value, size.source.clone()));
    }
    let heads = match agree(HEADS, claims)? {
        Some(heads) => heads,
        None => match &stated.fallback {
            Some(config) => Claim::new(config.num_attention_heads, Source::TransformersDefault),
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
) -> Result<Claim<usize>, Error> {
    const SIZE: usize = 64;
    let rule = if follows_head_rule(model, scopes) {
        "a generator has max(1, hidden size / 64) heads"
    } else if hidden_size.is_multiple_of(SIZE) {
        "hidden size / 64, unless the training run set another"
    } else {
        return Err(Error::UnknownHeadCount { model, hidden_size });
    };
    let heads = (hidden_size / SIZE).max(1);
    Ok(Claim::new(heads, Source::OriginalCode(rule)))
}

fn activation((view, facts): Graph<'_>, stated: &Stated) -> Result<Claim<Activation>, Error> {
    const OPTION: &str = "--hidden-act";
    let mut claims = Vec::new();
    if let Some(activation) = stated.hidden_act {
        claims.push(Claim::new(activation, Source::Option(OPTION)));
    }
    if let Some(file) = &stated.config
        && let Some(value) = file.values.get(ACTIVATION)
    {
        let source = Source::ConfigFile(file.path.clone());
        let activation = serde_json::from_value(value.clone()).map_err(|_| {
            let names = Activation::ALL.map(Activation::key).join(", ");
            impossible(
                ACTIVATION,
                &Claim::new(value, source.clone()),
                &format!("the ones known are {names}"),
            )
        })?;
        claims.push(Claim::new(activation, source));
    }
    let is_stated = !claims.is_empty() || stated.fallback.is_some();
    check_understood(view, &facts.activation, is_stated, OPTION)?;
    claims.extend(facts.activation.claims.iter().cloned());
    Ok(agree(ACTIVATION, claims)?.unwrap_or_else(|| {
        let rule = "gelu, unless the training run set another";
        Claim::new(Activation::Gelu, Source::OriginalCode(rule))
    }))
}

fn epsilon((view, facts): Graph<'_>, stated: &Stated) -> Result<Claim<Epsilon>, Error> {
    const OPTION: &str = "--layer-norm-eps";
    let mut claims = Vec::new();
    if let Some(epsilon) = stated.layer_norm_eps {
        claims.push(Claim::new(epsilon, Source::Option(OPTION)));
    }
    if let Some(file) = &stated.config
        && let Some(value) = file.values.get(EPSILON)
    {
        let source = Source::ConfigFile(file.path.clone());
        let epsilon = value.as_f64().and_then(Epsilon::new).ok_or_else(|| {
            let claim = Claim::new(value, source.clone());
            impossible(EPSILON, &claim, "it must be a number of 0 or more")
        })?;
        claims.push(Claim::new(epsilon, source));
    }
    let is_stated = !claims.is_empty() || stated.fallback.is_some();
    check_understood(view, &facts.epsilon, is_stated, OPTION)?;
    claims.extend(facts.epsilon.claims.iter().cloned());
    let default = Epsilon::new(ElectraConfig::default().layer_norm_eps).expect("a small number");
    Ok(agree(EPSILON, claims)?
        .unwrap_or_else(|| Claim::new(default, Source::OriginalCode("LayerNorm adds 1e-12"))))
}

/// A size that the config file states.
fn stated_size(
    file: Option<&ConfigFile>,
    key: &'static str,
) -> Result<Option<Claim<usize>>, Error> {
    let Some((file, value)) = file.and_then(|file| Some((file, file.values.get(key)?))) else {
        return Ok(None);
    };
    let source = Source::ConfigFile(file.path.clone());
    match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
        Some(size) => Ok(Some(Claim::new(size, source))),
        None => Err(impossible(
            key,
            &Claim::new(value, source),
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
            let claim = Claim::new(value, Source::ConfigFile(file.path.clone()));
            let why = format!("an ELECTRA has {}", allowed.join(" or "));
            return Err(impossible(key, &claim, &why));
        }
    }
    Ok(())
}

/// The defaults, with what the config file states of them.
fn carried(
    file: Option<&ConfigFile>,
    sources: &mut BTreeMap<&'static str, Source>,
) -> Result<ElectraConfig, Error> {
    let defaults = serde_json::to_value(ElectraConfig::default()).expect("plain data");
    let Value::Object(mut values) = defaults else {
        unreachable!("a struct is an object");
    };
    for &key in CARRIED {
        let stated = file.and_then(|file| Some((file, file.values.get(key)?)));
        let Some((file, value)) = stated else {
            sources.insert(key, Source::TransformersDefault);
            continue;
        };
        let source = Source::ConfigFile(file.path.clone());
        values.insert(key.to_owned(), value.clone());
        // One key at a time, so that the error can name it.
        serde_json::from_value::<ElectraConfig>(Value::Object(values.clone())).map_err(
            |error| impossible(key, &Claim::new(value, source.clone()), &error.to_string()),
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

fn impossible<T: std::fmt::Display>(key: &'static str, claim: &Claim<T>, why: &str) -> Error {
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
