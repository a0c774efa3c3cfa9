//! All values that the training graph shows of a model.

use candle_electra::Activation;

use super::attention::{self, HeadFindings};
use super::findings::Findings;
use super::view::View;
use super::{activation, layer_norm};
use crate::config::epsilon::Epsilon;
use crate::variables::names::{DISCRIMINATOR_HEAD, GENERATOR_HEAD};

/// What the graph shows of an encoder and its head.
#[derive(Debug, Default)]
pub(crate) struct GraphFacts {
    /// The number and the size of attention heads.
    pub(crate) heads: HeadFindings,
    /// The activation of the feed-forward layers, and of the discriminator's head.
    pub(crate) activation: Findings<Activation>,
    /// The activation of the generator's head.
    pub(crate) generator_head: Findings<Activation>,
    /// The epsilon of every LayerNorm.
    pub(crate) epsilon: Findings<Epsilon>,
}

impl GraphFacts {
    /// Returns true if the graph computes the feed-forward layers of the encoder.
    pub(crate) fn shows_layers(&self) -> bool {
        !self.activation.candidates.is_empty() || self.activation.unrecognised.is_some()
    }

    /// Reads what the graph shows of a model.
    pub(crate) fn read(view: &View<'_>, model: &ModelScopes) -> Self {
        let mut facts = Self::default();
        for layer in &model.layers {
            attention::read(view, layer, &mut facts.heads);
            let found = activation::read(
                view,
                &format!("{layer}/intermediate/dense"),
                &format!("{layer}/output/dense/kernel"),
            );
            facts.activation.add(view, found);
        }
        if model.has_discriminator_head {
            let found = activation::read(
                view,
                &format!("{DISCRIMINATOR_HEAD}/dense"),
                &format!("{DISCRIMINATOR_HEAD}/dense_1/kernel"),
            );
            facts.activation.add(view, found);
        }
        if model.has_generator_head {
            let dense = format!("{GENERATOR_HEAD}/dense");
            let found = activation::read_before_norm(view, &dense, GENERATOR_HEAD);
            facts.generator_head.add(view, found);
        }
        for norm in model.norms() {
            facts.epsilon.add(view, layer_norm::read(view, &norm));
        }
        facts
    }
}

/// The scopes of a model's parts, in the original code's names.
#[derive(Debug)]
pub(crate) struct ModelScopes {
    /// Such as `electra/embeddings`.
    pub(crate) embeddings: &'static str,
    /// Such as `electra/encoder/layer_0`, in order.
    pub(crate) layers: Vec<String>,
    pub(crate) has_discriminator_head: bool,
    pub(crate) has_generator_head: bool,
}

impl ModelScopes {
    /// Returns the scope of every LayerNorm.
    fn norms(&self) -> impl Iterator<Item = String> {
        let layers = self.layers.iter().flat_map(|layer| {
            ["attention/output", "output"].map(|part| format!("{layer}/{part}/LayerNorm"))
        });
        let head = self
            .has_generator_head
            .then(|| format!("{GENERATOR_HEAD}/LayerNorm"));
        std::iter::once(format!("{}/LayerNorm", self.embeddings))
            .chain(layers)
            .chain(head)
    }
}
