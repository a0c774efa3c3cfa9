//! Resolves the configuration of a model: each value has a source, and no two sources disagree.
//!
//! Sizes come from shapes (`sizes`), and so does the head count of Model Garden's encoders. Otherwise head
//! count, activation and LayerNorm epsilon come from the options, a config.json, Model Garden's params.yaml, the
//! training graph, the weights (head count only), or the defaults of the code that wrote the checkpoint
//! (`settings`); the rest from a config.json or transformers' defaults (`config_file`).

use std::collections::BTreeMap;

use candle_electra::{Dim, ElectraConfig, ModelClass, Part};
use tf_checkpoint::MetaGraph;

use crate::config::config_file::defaults;
use crate::config::encoder::{Encoder, ReadHeadCount};
use crate::config::graph::{GraphFacts, ModelScopes, View};
use crate::config::keys::{ACTIVATION, EPSILON, HEADS, LAYERS};
use crate::config::options::ConfigOptions;
use crate::config::params::NOT_SHOWN;
use crate::config::resolved::ResolvedConfig;
use crate::config::settings::Settings;
use crate::config::sizes::Sizes;
use crate::variables::names::{self, Scopes};
use crate::variables::{Code, Error, Inventory, Model};

/// Resolves the configuration of the model in `scopes`.
pub fn resolve_config(
    inventory: &Inventory,
    model: Model,
    (class, scopes): (ModelClass, Scopes),
    graph: Option<&MetaGraph>,
    options: &ConfigOptions,
    read_weights: &ReadHeadCount<'_>,
) -> Result<ResolvedConfig, Error> {
    let file = options.file.as_ref();
    if let Some(file) = file {
        file.check_fixed()?;
    }
    let params_file = options.params.as_ref();
    let params = params_file.map(|file| file.encoder(scopes)).transpose()?;
    let params = params.as_ref();
    let mut sources = BTreeMap::new();
    let mut sizes = Sizes::read(inventory, model, (class, scopes), (file, params))?;
    let mut size = |dim: Dim| -> Result<usize, Error> {
        let size = sizes.get(dim)?;
        sources.insert(dim.key(), size.source);
        Ok(size.value)
    };
    let vocab_size = size(Dim::Vocab)?;
    let embedding_size = size(Dim::Embedding)?;
    let max_position_embeddings = size(Dim::Position)?;
    let type_vocab_size = size(Dim::TokenType)?;
    let hidden_size = size(Dim::Hidden)?;
    let intermediate_size = size(Dim::Intermediate)?;
    let layers = sizes.layers()?;

    let model_scopes = ModelScopes {
        embeddings: scopes.embeddings,
        layers: (0..layers.value)
            .map(|layer| names::layer_scope(scopes, layer))
            .collect(),
        has_discriminator_head: class.head() == Some(Part::DiscriminatorHead),
        has_generator_head: class.head() == Some(Part::GeneratorHead),
    };
    let view = graph.map(|graph| View::new(graph, inventory));
    let facts = view
        .as_ref()
        .map(|view| GraphFacts::read(view, &model_scopes));
    let facts = facts.unwrap_or_default();
    let is_in_graph = facts.shows_layers();
    let settings = Settings {
        options,
        view: view.as_ref(),
        facts,
        params,
        code: inventory.code(),
    };
    let encoder = Encoder {
        scopes,
        layers: layers.value,
        hidden_size,
    };
    let read_weights = || read_weights(inventory, encoder);
    let heads = settings.head_count(model, encoder, sizes.heads(), read_weights)?;
    let activation = settings.activation()?;
    let epsilon = settings.epsilon()?;
    let generator_head = settings.generator_head()?;
    if let (Some(file), Some(params), true) =
        (params_file, params, model_scopes.has_discriminator_head)
    {
        file.check_discriminator_head(params, (activation.value, &activation.source))?;
    }
    let not_stated = match params {
        // The graph of a SavedModel, with which the export is compared.
        _ if is_in_graph => Vec::new(),
        Some(params) => params.not_stated()?,
        None if inventory.code() == Code::ModelGarden => NOT_SHOWN.to_vec(),
        None => Vec::new(),
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
        ..defaults(file, &mut sources)?
    };
    sources.insert(LAYERS, layers.source);
    let notes = heads.note.map(|note| (HEADS, note));
    let mut agreed = BTreeMap::new();
    for (key, source, others) in [
        (HEADS, heads.source, heads.agreed),
        (ACTIVATION, activation.source, activation.agreed),
        (EPSILON, epsilon.source, epsilon.agreed),
    ] {
        sources.insert(key, source);
        agreed.insert(key, others);
    }
    Ok(ResolvedConfig {
        config,
        sources,
        agreed,
        notes: notes.into_iter().collect(),
        not_stated,
        is_stated_electra: params.is_some_and(|params| params.is_electra),
        generator_head,
    })
}
