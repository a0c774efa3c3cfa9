//! The conditions of branches.
//!
//! A condition is a part of the graph of its own, which may have branches again. Each condition is evaluated
//! once. All walks through the graph count their steps against one limit, so that a graph of conditions
//! within conditions ends in an error.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use tf_checkpoint::{MetaGraph, NodeId, Tensor};

use crate::array::{Array, ArrayType};
use crate::constants::{evaluate, literal};
use crate::failure::Failure;
use crate::flow::{Flow, Walk};
use crate::meter::Meter;
use crate::refusal::Refusal;
use crate::types::data_type;

/// The deepest nesting of conditions.
const MAX_DEPTH: usize = 16;
/// The most steps of all walks. The graph of a model of 24 layers takes some 100,000.
const MAX_STEPS: u64 = 1 << 24;
/// The number of steps between two checks for a cancellation.
const CHECKED_STEPS: u64 = 1 << 12;

/// The conditions of a graph's branches, and the limits of an evaluation.
pub(crate) struct Conditions<'a> {
    graph: &'a MetaGraph,
    meter: &'a Meter<'a>,
    known: RefCell<HashMap<Tensor, bool>>,
    depth: Cell<usize>,
    steps: Cell<u64>,
}

impl<'a> Conditions<'a> {
    pub(crate) fn new(graph: &'a MetaGraph, meter: &'a Meter<'a>) -> Self {
        Self {
            graph,
            meter,
            known: RefCell::default(),
            depth: Cell::new(0),
            steps: Cell::new(0),
        }
    }

    /// Evaluates a condition. A boolean placeholder is false: it says that the graph trains.
    fn evaluated(&self, condition: Tensor) -> Result<bool, Refusal> {
        let graph = self.graph;
        let flow = Flow::new(graph, [], self);
        let leaf = |node: NodeId| {
            let is_placeholder = matches!(graph.op(node), "Placeholder" | "PlaceholderV2");
            if is_placeholder && data_type(graph, node.into()) == Some(ArrayType::Bool) {
                return Ok(Array::scalar_of(ArrayType::Bool, 0.0));
            }
            literal(graph, node, self.meter)
        };
        let array = evaluate(&flow, condition, &leaf)?;
        array.scalar().map(|value| value != 0.0).ok_or_else(|| {
            Refusal::unsupported(condition.node, "the condition of a branch is no scalar")
        })
    }
}

impl Walk for Conditions<'_> {
    fn step(&self, node: NodeId) -> Result<(), Refusal> {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        let failure = if steps > MAX_STEPS {
            Err(Failure::TooLarge {
                what: "the search in the graph",
                unit: "steps",
                needed: steps,
                available: MAX_STEPS,
            })
        } else if steps.is_multiple_of(CHECKED_STEPS) {
            self.meter.check_cancelled()
        } else {
            Ok(())
        };
        failure.map_err(|failure| Refusal::at(node, failure))
    }

    fn holds(&self, condition: Tensor) -> Result<bool, Refusal> {
        if let Some(&known) = self.known.borrow().get(&condition) {
            return Ok(known);
        }
        let depth = self.depth.get();
        if depth >= MAX_DEPTH {
            let why = "conditions are nested too deeply";
            return Err(Refusal::unsupported(condition.node, why));
        }
        self.depth.set(depth + 1);
        let holds = self.evaluated(condition);
        self.depth.set(depth);
        let holds = holds?;
        self.known.borrow_mut().insert(condition, holds);
        Ok(holds)
    }

    fn meter(&self) -> &Meter<'_> {
        self.meter
    }
}
