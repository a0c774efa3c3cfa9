//! What the training graph shows of a model: head count, activation, LayerNorm epsilon, and where
//! the head of a task reads the encoder.
//!
//! Everything is found by variables and structure, never by the names that one code base gives to
//! operations: a layer's intermediate kernel is a variable, the node that multiplies by it is its
//! product, the node that adds the bias to that is its output, and so on. Each file follows one
//! structure:
//!
//! | file | follows |
//! |---|---|
//! | `view` | a variable to the nodes that read it, multiply by it, add it |
//! | `elementwise` | a computation on single numbers, by running it on samples |
//! | `dropout` | a keep mask, to the factor that it stands for |
//! | `activation` | from a dense layer's output to the next product |
//! | `layer_norm` | from a variance to gamma |
//! | `attention` | from queries and keys to the softmax |
//! | `wiring` | from a head's kernel back to the encoder's layers |
//!
//! A structure that is there and that no rule recognises is [`NotUnderstood`]: it is never replaced
//! by a default.

mod activation;
mod attention;
mod dropout;
mod elementwise;
mod layer_norm;
mod view;
mod wiring;

use std::fmt;

pub(crate) use view::View;
pub(crate) use wiring::{Reads, Wiring, read as wiring};

use crate::config::candidate::{Candidate, ValueSource};
use crate::config::epsilon::Epsilon;
use crate::variables::Error;
use candle_electra::Activation;
use tf_checkpoint::NodeId;

/// Something that a graph shows and that no rule recognises.
#[derive(Clone, Debug)]
pub(crate) struct NotUnderstood {
    /// What it would decide, such as `the activation of electra/encoder/layer_0`.
    subject: String,
    /// The node where recognition ended.
    node: NodeId,
    /// What stands there instead of something known.
    why: String,
    /// True where the graph was followed to its end and computes something that no class has, so that
    /// no option makes an export right.
    is_foreign: bool,
}

impl NotUnderstood {
    /// What the graph shows instead, for messages.
    pub(crate) fn describe(&self, view: &View<'_>) -> String {
        format!("{} (node {})", self.why, view.graph().name(self.node))
    }

    /// True where a stated value cannot settle it.
    pub(crate) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// The error that names the node, and the option that settles it if there is one.
    pub(crate) fn error(&self, view: &View<'_>, option: &'static str) -> Error {
        Error::NotUnderstood {
            path: view.graph().path().into(),
            subject: self.subject.as_str().into(),
            node: view.graph().name(self.node).into(),
            why: self.why.as_str().into(),
            option: (!self.is_foreign).then_some(option),
        }
    }
}

/// What a graph shows of one value: a claim for each place that shows it, and the first place that
/// was not understood.
#[derive(Debug)]
pub(super) struct Findings<T> {
    pub(super) claims: Vec<Candidate<T>>,
    pub(super) not_understood: Option<NotUnderstood>,
}

impl<T> Default for Findings<T> {
    fn default() -> Self {
        Self {
            claims: Vec::new(),
            not_understood: None,
        }
    }
}

impl<T> Findings<T> {
    fn add(&mut self, view: &View<'_>, found: Result<Option<(T, NodeId)>, NotUnderstood>) {
        match found {
            Ok(found) => self
                .claims
                .extend(found.map(|(value, node)| Candidate::new(value, view.source(node)))),
            Err(error) => {
                self.not_understood.get_or_insert(error);
            }
        }
    }
}

/// What the graph shows of an encoder and the head on it.
#[derive(Debug, Default)]
pub(super) struct GraphFacts {
    /// Number of attention heads.
    pub(super) heads: Findings<usize>,
    /// Size of an attention head.
    pub(super) head_sizes: Findings<usize>,
    /// Activation of the feed-forward layers, and of the discriminator's head.
    pub(super) activation: Findings<Activation>,
    /// Activation of the generator's head.
    pub(super) generator_head: Findings<Activation>,
    /// Epsilon of every LayerNorm.
    pub(super) epsilon: Findings<Epsilon>,
}

impl GraphFacts {
    /// Reads what the graph shows of the model with these variables: the canonical names of its
    /// scopes, layers and head.
    pub(super) fn read(view: &View<'_>, model: &ModelScopes) -> Self {
        let mut facts = Self::default();
        for layer in &model.layers {
            attention::read(view, layer, &mut facts);
            let found = activation::read(
                view,
                &format!("{layer}/intermediate/dense"),
                &format!("{layer}/output/dense/kernel"),
            );
            facts.activation.add(view, found);
        }
        if model.has_discriminator_head {
            let head = "discriminator_predictions";
            let next = format!("{head}/dense_1/kernel");
            let found = activation::read(view, &format!("{head}/dense"), &next);
            facts.activation.add(view, found);
        }
        if model.has_generator_head {
            let head = "generator_predictions";
            let found = activation::read_before_norm(view, &format!("{head}/dense"), head);
            facts.generator_head.add(view, found);
        }
        for norm in model.norms() {
            facts.epsilon.add(view, layer_norm::read(view, &norm));
        }
        facts
    }
}

/// The canonical names of a model's parts.
#[derive(Debug)]
pub(super) struct ModelScopes {
    /// Such as `electra/embeddings`.
    pub(super) embeddings: &'static str,
    /// Such as `electra/encoder/layer_0`, in order.
    pub(super) layers: Vec<String>,
    pub(super) has_discriminator_head: bool,
    pub(super) has_generator_head: bool,
}

impl ModelScopes {
    /// The scope of every LayerNorm.
    fn norms(&self) -> impl Iterator<Item = String> {
        let layers = self.layers.iter().flat_map(|layer| {
            ["attention/output", "output"].map(|part| format!("{layer}/{part}/LayerNorm"))
        });
        let head = self
            .has_generator_head
            .then(|| "generator_predictions/LayerNorm".to_owned());
        std::iter::once(format!("{}/LayerNorm", self.embeddings))
            .chain(layers)
            .chain(head)
    }
}

impl View<'_> {
    /// The source of a value that a node shows.
    pub(crate) fn source(&self, node: NodeId) -> ValueSource {
        ValueSource::Graph {
            path: self.graph().path().to_owned(),
            node: self.graph().name(node),
        }
    }
}

/// The operations between two places, for messages.
struct Operations<'a>(&'a [String]);

impl fmt::Display for Operations<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// How many are listed.
        const MAX_LISTED: usize = 12;
        let listed = self.0.iter().take(MAX_LISTED).map(String::as_str);
        f.write_str(&listed.collect::<Vec<_>>().join(", "))?;
        if self.0.len() > MAX_LISTED {
            f.write_str(", …")?;
        }
        Ok(())
    }
}
