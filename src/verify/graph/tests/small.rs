//! A small model whose parts can be spelled in many ways.
//!
//! The nodes that a test expects have names; all others have numbers.

use std::path::Path;

use testkit::graph_writer::{Attr, Graph};
use tf_checkpoint::{Limits, MetaGraph};

use super::describe;
use crate::config::graph::View;
use crate::variables::Inventory;
use crate::variables::names::ELECTRA;
use crate::verify::graph::boundary::find;

/// The batch of the model.
pub(super) const BATCH: i64 = 3;
/// The sequence length of the model.
pub(super) const LENGTH: i64 = 8;
/// The number of tokens.
pub(super) const ALL: i64 = BATCH * LENGTH;
/// The width of the model.
pub(super) const HIDDEN: i64 = 4;
/// The bias of the output.
pub(super) const BIAS: &str = "discriminator_predictions/dense_1/bias";

/// A graph under construction.
#[derive(Default)]
pub(super) struct Model {
    pub(super) graph: Graph,
}

impl Model {
    /// Adds a node with an output shape; returns its name.
    pub(super) fn op(&mut self, op: &str, inputs: &[&str], shape: &[i64]) -> String {
        self.with(op, inputs, shape, &[])
    }

    /// Adds a node with an output shape and attributes; returns its name.
    pub(super) fn with(
        &mut self,
        op: &str,
        inputs: &[&str],
        shape: &[i64],
        attrs: &[(&str, Attr)],
    ) -> String {
        let mut attrs = attrs.to_vec();
        attrs.push(("_output_shapes", Attr::Shapes(vec![shape.to_vec()])));
        self.graph.with(op, inputs, &attrs)
    }

    /// Adds a node with a name and an output shape; returns the name.
    pub(super) fn named(&mut self, name: &str, op: &str, inputs: &[&str], shape: &[i64]) -> String {
        let attrs = [("_output_shapes", Attr::Shapes(vec![shape.to_vec()]))];
        self.graph.named(name, op, inputs, &attrs);
        name.to_owned()
    }

    /// Adds an input of the graph.
    pub(super) fn input(&mut self, name: &str, shape: &[i64]) -> String {
        self.named(name, "Placeholder", &[], shape)
    }

    /// Adds `[batch, sequence]`, reshaped to all tokens.
    pub(super) fn flat(&mut self, rows: &str) -> String {
        let shape = self.graph.ints(&[-1]);
        self.op("Reshape", &[rows, &shape], &[ALL])
    }

    /// Adds the index of the word lookup: a flattened input `ids`.
    pub(super) fn ids(&mut self) -> String {
        let ids = self.input("ids", &[BATCH, LENGTH]);
        self.flat(&ids)
    }

    /// Adds `scores + (1 - mask) * -10000`.
    pub(super) fn masked(&mut self, scores: &str, mask: &str, shape: &[i64]) -> String {
        let [one, factor] = [self.graph.float(1.0), self.graph.float(-10_000.0)];
        let mask = self.op("Cast", &[mask], shape);
        let padding = self.op("Sub", &[&one, &mask], shape);
        let penalty = self.op("Mul", &[&padding, &factor], shape);
        self.op("AddV2", &[scores, &penalty], &[BATCH, 1, LENGTH, LENGTH])
    }

    /// Adds the mask `[batch, sequence]` with an axis for queries and heads.
    pub(super) fn keys(&mut self, mask: &str) -> String {
        let shape = self.graph.ints(&[3, 1, 1, 8]);
        self.op("Reshape", &[mask, &shape], &[BATCH, 1, 1, LENGTH])
    }
}

/// The spelling of each part. Every part adds nodes and returns the name of its result.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    /// The index `[all]` of the lookup of words.
    pub(super) ids: fn(&mut Model) -> String,
    /// The embeddings of tokens, given the rows `[all, hidden]` of the word table.
    pub(super) embed: fn(&mut Model, &str) -> String,
    /// Masked scores, given scores `[batch, 1, sequence, sequence]`.
    pub(super) mask: fn(&mut Model, &str) -> String,
    /// The tokens that the head reads, given tokens `[all, hidden]`.
    pub(super) head: fn(&mut Model, &str) -> String,
}

/// As the original code spells them, but without a mask.
pub(super) const PLAIN: Parts = Parts {
    ids: Model::ids,
    embed: |_, words| words.to_owned(),
    mask: |_, scores| scores.to_owned(),
    head: |_, tokens| tokens.to_owned(),
};

/// Returns the boundary of a model with these parts.
pub(super) fn boundary(parts: Parts) -> String {
    let mut model = Model::default();
    let m = &mut model;
    let index = (parts.ids)(m);
    let table = m.graph.variable("electra/embeddings/word_embeddings");
    let words = m.op("GatherV2", &[&table, &index], &[ALL, HIDDEN]);
    let tokens = (parts.embed)(m, &words);
    let output = encode(m, parts, &tokens);
    let kernel = m.graph.variable("discriminator_predictions/dense_1/kernel");
    let bias = m.graph.variable(BIAS);
    let product = m.op("MatMul", &[&output, &kernel], &[ALL, 1]);
    m.named("logits", "BiasAdd", &[&product, &bias], &[ALL, 1]);
    of(&model)
}

/// Checks the lines of a boundary that start with one of these words.
#[track_caller]
pub(super) fn lines(parts: Parts, subjects: &[&str], expected: &[&str]) {
    let text = boundary(parts);
    let is_about = |line: &&str| subjects.iter().any(|subject| line.starts_with(subject));
    let found: Vec<&str> = text.lines().filter(is_about).collect();
    assert_eq!(found, expected, "{text}");
}

/// Returns the boundary of a graph.
pub(super) fn of(model: &Model) -> String {
    let meta = model.graph.meta();
    let graph = MetaGraph::parse(Path::new("m.meta"), meta, &Limits::default()).unwrap();
    let inventory = Inventory::new(&[], &[]).unwrap();
    let view = View::new(&graph, &inventory);
    describe(&view, &find(&view, ELECTRA, BIAS))
}

/// One layer of attention.
fn encode(m: &mut Model, parts: Parts, tokens: &str) -> String {
    let heads = [BATCH, 1, LENGTH, HIDDEN];
    let shape = m.graph.ints(&[3, 1, 8, 4]);
    let [q, k, v] = ["query", "key", "value"].map(|part| {
        let projected = m.graph.dense(tokens, part);
        m.op("Reshape", &[&projected, &shape], &heads)
    });
    let scores = [BATCH, 1, LENGTH, LENGTH];
    let product = m.op("BatchMatMulV2", &[&q, &k], &scores);
    let factor = m.graph.float(0.5);
    let scaled = m.op("Mul", &[&product, &factor], &scores);
    let masked = (parts.mask)(m, &scaled);
    let probabilities = m.op("Softmax", &[&masked], &scores);
    let context = m.op("BatchMatMulV2", &[&probabilities, &v], &heads);
    let shape = m.graph.ints(&[24, 4]);
    let context = m.op("Reshape", &[&context, &shape], &[ALL, HIDDEN]);
    (parts.head)(m, &context)
}
