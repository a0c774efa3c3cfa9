//! The tensor that another one is a copy of.
//!
//! Much of a graph only forwards tensors: identities, reads of variables, the entry of a loop, the
//! branches of a condition. [`Flow::origin`] follows them back to a tensor that is fed, computed or held
//! by a node. A neutralised dropout is an alias of the tensor that it drops elements of.
//!
//! Where two branches meet (`Merge`, `If`), the condition decides: it is evaluated, with boolean
//! placeholders (`is_training`) taken as false. A loop is followed to the values before its first
//! iteration, never to those after its end.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use tf_checkpoint::{MetaGraph, NodeId, Tensor};

use crate::meter::Meter;
use crate::operations::FORWARDING;
use crate::refusal::Refusal;

/// The longest chain of nodes that forward a tensor.
const MAX_CHAIN: usize = 4096;
/// The most nodes visited to find the condition of a `Merge`.
const MAX_VISITED: usize = 1 << 16;

/// What a walk through a graph depends on: the conditions of branches, and limits.
pub(crate) trait Walk {
    /// Counts a step at a node; an error if there were too many, or after a cancellation.
    fn step(&self, node: NodeId) -> Result<(), Refusal>;

    /// Returns the value of the condition of a branch.
    fn holds(&self, condition: Tensor) -> Result<bool, Refusal>;

    /// Returns the limits of an evaluation.
    fn meter(&self) -> &Meter<'_>;
}

/// Follows tensors back to their origins.
pub(crate) struct Flow<'a> {
    pub(crate) graph: &'a MetaGraph,
    /// Tensors with a given value.
    fed: HashSet<Tensor>,
    aliases: HashMap<Tensor, Tensor>,
    pub(crate) walk: &'a dyn Walk,
    /// The live input of each `Merge`.
    merged: RefCell<HashMap<NodeId, Tensor>>,
    origins: RefCell<HashMap<Tensor, Tensor>>,
}

impl<'a> Flow<'a> {
    pub(crate) fn new(
        graph: &'a MetaGraph,
        fed: impl IntoIterator<Item = Tensor>,
        walk: &'a dyn Walk,
    ) -> Self {
        Self {
            graph,
            fed: fed.into_iter().collect(),
            aliases: HashMap::new(),
            walk,
            merged: RefCell::default(),
            origins: RefCell::default(),
        }
    }

    /// Makes tensors copies of others.
    pub(crate) fn alias(&mut self, aliases: impl IntoIterator<Item = (Tensor, Tensor)>) {
        self.aliases.extend(aliases);
        self.origins.borrow_mut().clear();
    }

    pub(crate) fn is_fed(&self, tensor: Tensor) -> bool {
        self.fed.contains(&tensor)
    }

    /// Returns the tensor that `tensor` is a copy of.
    pub(crate) fn origin(&self, tensor: Tensor) -> Result<Tensor, Refusal> {
        let mut at = tensor;
        let mut passed = Vec::new();
        let origin = loop {
            if let Some(&known) = self.origins.borrow().get(&at) {
                break known;
            }
            let Some(next) = self.forwarded(at)? else {
                break at;
            };
            self.walk.step(at.node)?;
            passed.push(at);
            if next.is_missing() {
                return Err(Refusal::unsupported(
                    at.node,
                    "an input of this node is not in the graph",
                ));
            }
            if passed.len() > MAX_CHAIN {
                return Err(Refusal::unsupported(at.node, "the graph has a cycle here"));
            }
            at = next;
        };
        let mut origins = self.origins.borrow_mut();
        origins.extend(passed.into_iter().map(|tensor| (tensor, origin)));
        Ok(origin)
    }

    /// Returns the tensor that a node forwards to `tensor`; `None` for a tensor that is fed, computed or
    /// held by its node.
    fn forwarded(&self, tensor: Tensor) -> Result<Option<Tensor>, Refusal> {
        if self.fed.contains(&tensor) {
            return Ok(None);
        }
        if let Some(&alias) = self.aliases.get(&tensor) {
            return Ok(Some(alias));
        }
        let graph = self.graph;
        let input = |operand: usize| {
            let inputs = graph.inputs(tensor.node);
            inputs.get(operand).copied().unwrap_or(Tensor::MISSING)
        };
        Ok(match graph.op(tensor.node) {
            "IdentityN" => Some(input(tensor.output as usize)),
            op if FORWARDING.contains(&op) => Some(input(0)),
            "Merge" | "RefMerge" if tensor.output == 0 => Some(self.live_input(tensor.node)?),
            "If" | "StatelessIf" => match graph.branches(tensor) {
                Some((condition, [then, or_else])) => {
                    let holds = self.walk.holds(condition)?;
                    Some(if holds { then } else { or_else })
                }
                None => None,
            },
            _ => None,
        })
    }

    /// Returns the input of a `Merge` that has a value.
    fn live_input(&self, merge: NodeId) -> Result<Tensor, Refusal> {
        if let Some(&live) = self.merged.borrow().get(&merge) {
            return Ok(live);
        }
        let graph = self.graph;
        let inputs = graph.inputs(merge);
        let is_entry = |input: &&Tensor| matches!(graph.op(input.node), "Enter" | "RefEnter");
        let live = match inputs {
            [only] => *only,
            _ => match inputs.iter().find(is_entry) {
                Some(&entry) => entry,
                None => self.taken(merge, inputs)?,
            },
        };
        self.merged.borrow_mut().insert(merge, live);
        Ok(live)
    }

    /// Returns the branch of a condition that is taken.
    fn taken(&self, merge: NodeId, inputs: &[Tensor]) -> Result<Tensor, Refusal> {
        let &[first, second] = inputs else {
            return Err(Refusal::unsupported(
                merge,
                "more than two branches meet in this node",
            ));
        };
        let sides = [self.side(first)?, self.side(second)?];
        let (condition, first_side) = match sides {
            [Some((condition, side)), _] => (condition, side),
            [None, Some((condition, side))] => (condition, !side),
            [None, None] => {
                return Err(Refusal::unsupported(
                    merge,
                    "the condition of these branches was not found",
                ));
            }
        };
        let holds = self.walk.holds(condition)?;
        Ok(if holds == first_side { first } else { second })
    }

    /// Returns the condition that a tensor depends on, and its value where the tensor is live. The
    /// conditions inside of the branch are passed.
    fn side(&self, tensor: Tensor) -> Result<Option<(Tensor, bool)>, Refusal> {
        let graph = self.graph;
        let mut seen = HashSet::from([(tensor, 0_usize)]);
        let mut open = vec![(tensor, 0)];
        while let Some((tensor, depth)) = open.pop() {
            self.walk.step(tensor.node)?;
            let depth = match graph.op(tensor.node) {
                "Switch" | "RefSwitch" if depth == 0 => {
                    let condition = graph.input(tensor.node, 1);
                    return Ok(condition.map(|condition| (condition, tensor.output == 1)));
                }
                "Switch" | "RefSwitch" => depth - 1,
                "Merge" | "RefMerge" => depth + 1,
                _ => depth,
            };
            for &input in graph.inputs(tensor.node) {
                if !input.is_missing() && seen.len() < MAX_VISITED && seen.insert((input, depth)) {
                    open.push((input, depth));
                }
            }
        }
        Ok(None)
    }
}
