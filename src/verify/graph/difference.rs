//! After a difference between model and graph: checks that the evaluation is consistent, and finds the layer in
//! which the difference begins.

use candle_core::DType;
use tf_checkpoint::Tensor;
use tf_graph::Precision;

use super::compare::{Comparison, DOUBLE_TOLERANCE, Group, TOLERANCE};
use super::deviation::{deviation, exceeds};
use super::evaluate::{EvaluatedBy, MAX_WORK};
use super::model::{Layers, ModelOutputs};
use super::outputs::Output;
use super::refusal::Refusal;
use super::report::Difference;
use super::rows::Rows;
use crate::variables::names::layer_scope;
use crate::verify::error::Error;

/// The largest batch of a graph that is evaluated as it is, to check an evaluation with another one.
const MAX_BATCH: usize = 32;

impl Comparison<'_> {
    /// Checks that the evaluation of the graph does not depend on how it is done.
    pub(super) fn check_consistent(&self, group: &Group, rows: &Rows) -> Result<(), Refusal> {
        let boundary = &group.boundary;
        let positions = Self::positions(group, rows);
        let tensors: Vec<Tensor> = group.outputs.iter().map(|output| output.tensor).collect();
        let run = |rows: &Rows| {
            let precision = Precision::OfGraph;
            let run = self
                .evaluator
                .run(boundary, rows, &positions, precision, &tensors);
            run.map(|evaluated| evaluated.values)
        };
        let mut others = vec![(rows.reversed(), "in another order", true)];
        if !boundary.masks.is_empty() {
            let padded = rows.with_other_padding(self.config);
            others.push((padded, "with other tokens under the padding", false));
        }
        let is_affordable = |batch: &usize| {
            let work = (self.plan.parameters() * rows.length) as u64;
            *batch <= MAX_BATCH && work.saturating_mul(4 * *batch as u64) < MAX_WORK / 4
        };
        if let Some(batch) = boundary.batch.filter(is_affordable) {
            others.push((rows.repeated(batch), "in the graph's own batch", false));
        }
        let first = run(rows)?;
        for (other, what, is_reversed) in others {
            let second = run(&other)?;
            for ((output, first), second) in group.outputs.iter().zip(&first).zip(&second) {
                let mut tokens = self.tokens(&output.output, rows, output.chosen(&positions));
                let first = first.to_f64();
                let mut second = second.to_f64();
                let row = first.len() / rows.batch;
                if is_reversed && row > 0 {
                    second = second.chunks(row).rev().flatten().copied().collect();
                }
                // A graph without padding in some rows, or with fewer rows of its own.
                let shared = first.len().min(second.len());
                if let Some(tokens) = &mut tokens {
                    tokens.truncate(shared * tokens.len() / first.len().max(1));
                }
                let deviation = deviation(&first[..shared], &second[..shared], tokens);
                if exceeds(deviation, TOLERANCE) {
                    let why = format!(
                        "the evaluation is not consistent: the same rows {what} give other results \
                         (deviation {deviation:.1e})"
                    );
                    return Err(Refusal::at(output.tensor.node, why));
                }
            }
        }
        Ok(())
    }

    /// Finds the first layer whose output deviates.
    pub(super) fn first_difference(
        &self,
        group: &Group,
        rows: &Rows,
    ) -> Result<Option<Difference>, Error> {
        let positions = Self::positions(group, rows);
        let boundary = &group.boundary;
        let tensors: Vec<Tensor> = group.outputs.iter().map(|output| output.tensor).collect();
        // The library computes in float32, which a layer's tolerance here does not allow.
        if self.evaluator.evaluated_by != EvaluatedBy::Native {
            return Ok(None);
        }
        let Ok(nodes) = self.evaluator.nodes(boundary, rows, &positions, &tensors) else {
            self.watch.check()?;
            return Ok(None);
        };
        let layers = (0..self.plan.config().num_hidden_layers).filter_map(|layer| {
            let scope = layer_scope(self.plan.scopes, layer);
            let outputs = self.view.norm_outputs(&format!("{scope}/output/LayerNorm"));
            let used = outputs.into_iter().find(|node| nodes.contains(node))?;
            Some((layer, Tensor::from(used)))
        });
        let layers: Vec<(usize, Tensor)> = layers.collect();
        if layers.len() != self.plan.config().num_hidden_layers {
            return Ok(None);
        }
        let tensors: Vec<Tensor> = layers.iter().map(|(_, tensor)| *tensor).collect();
        self.begin()?;
        let double = Precision::Double;
        let Ok(evaluated) = self
            .evaluator
            .run(boundary, rows, &positions, double, &tensors)
        else {
            self.watch.check()?;
            return Ok(None);
        };
        let model = ModelOutputs::compute(
            self.model().with_dtype(DType::F64),
            self.plan.class,
            rows,
            Layers::All,
        )?;
        for ((layer, _), graph) in std::iter::zip(layers, evaluated.values) {
            let Some(expected) = model.layer(layer + 1)? else {
                return Ok(None);
            };
            let found = graph.to_f64();
            if found.len() != expected.len() {
                return Ok(None);
            }
            let tokens = self.tokens(&Output::Encoder, rows, &[]);
            let deviation = deviation(&found, &expected, tokens);
            if exceeds(deviation, DOUBLE_TOLERANCE) {
                let part = format!("encoder layer {layer}");
                return Ok(Some(Difference {
                    part,
                    deviation: Some(deviation),
                }));
            }
        }
        Ok(Some(Difference {
            part: "the head".to_owned(),
            deviation: None,
        }))
    }
}
