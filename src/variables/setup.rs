//! Which models a checkpoint holds, and in which scopes.
//!
//! Two tables derive this from the roles of the variables: `PLACES` has the scopes of each model, or the
//! reason why the checkpoint does not hold it; `KINDS` has the name and description of the checkpoint as
//! a whole. In each table the first row whose conditions all hold decides. The rows of the generator are
//! the ways in which the original code builds one (`pretrain/pretrain_model.py`). A description states
//! what the checkpoint holds; it states how the checkpoint was trained only if that follows.

use std::fmt;

use candle_electra::ModelClass;
use tf_checkpoint::MetaGraph;

use crate::variables::inventory::Inventory;
use crate::variables::model::Model;
use crate::variables::names::{self, ELECTRA, GENERATOR, GENERATOR_BODY, Scopes};
use crate::variables::role::Role;
use crate::variables::{Error, architecture, garden};

/// A condition on a checkpoint and its training graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// A variable has this role.
    Has(Role),
    /// No variable has this role.
    Lacks(Role),
    /// The training graph has this generator.
    Graph(GraphGenerator),
    /// Generator and discriminator share one variable with the word embeddings, and no other embeddings.
    SharesWords,
}

/// The generator in a training graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum GraphGenerator {
    /// There is no graph, or no generator in it.
    #[default]
    Unknown,
    /// A generator without variables, which draws tokens uniformly.
    Uniform,
    /// A generator with variables.
    Trained,
}

use Condition::{Graph, Has, Lacks, SharesWords};
use GraphGenerator::{Trained, Uniform};
use Role::{
    DiscriminatorHead, ElectricGenerator, Encoder, GeneratorEmbeddings, GeneratorEncoder,
    GeneratorHead, TaskHead,
};

/// The class and the scopes of a model, or the reason why the checkpoint does not hold it.
type Place = Result<(ModelClass, Scopes), &'static str>;

/// The scopes of a generator that shares only the discriminator's embeddings.
const SHARED_EMBEDDINGS: Scopes = Scopes {
    embeddings: ELECTRA.embeddings,
    ..SHARED_WORDS
};

/// The scopes of a generator that shares only the discriminator's word embeddings.
const SHARED_WORDS: Scopes = Scopes {
    word_embeddings: ELECTRA.word_embeddings,
    ..GENERATOR
};

/// The place of each model. The last row of a model has no condition.
#[rustfmt::skip]
const PLACES: &[(Model, &[Condition], Place)] = &[
    (Model::Discriminator, &[Has(DiscriminatorHead)], Ok((ModelClass::PreTraining, ELECTRA))),
    (Model::Discriminator, &[Has(GeneratorHead), Lacks(GeneratorEncoder), Lacks(TaskHead)],
        Err("it holds a masked language model alone")),
    (Model::Discriminator, &[Has(Encoder)], Ok((ModelClass::Model, ELECTRA))),
    (Model::Discriminator, &[], Err("it has no encoder in the scope electra/")),

    (Model::Generator, &[Has(ElectricGenerator)],
        Err("it is an Electric model, whose two-tower generator (generator_ltr, generator_rtl) \
             has no Hugging Face class")),
    (Model::Generator, &[Has(GeneratorHead), Has(GeneratorEncoder), SharesWords],
        Ok((ModelClass::MaskedLm, SHARED_WORDS))),
    (Model::Generator, &[Has(GeneratorHead), Has(GeneratorEncoder), Has(GeneratorEmbeddings)],
        Ok((ModelClass::MaskedLm, GENERATOR))),
    (Model::Generator, &[Has(GeneratorHead), Has(GeneratorEncoder)],
        Ok((ModelClass::MaskedLm, SHARED_EMBEDDINGS))),
    (Model::Generator, &[Has(GeneratorEncoder)],
        Err("it has the generator's encoder (generator/), but not its head (generator_predictions/)")),
    (Model::Generator, &[Has(GeneratorEmbeddings)],
        Err("it has only the generator's embeddings (generator/embeddings/)")),
    (Model::Generator, &[Has(GeneratorHead), Has(TaskHead)],
        Err("it has the generator's head (generator_predictions/), but not its encoder (generator/)")),
    (Model::Generator, &[Has(GeneratorHead)], Ok((ModelClass::MaskedLm, ELECTRA))),
    (Model::Generator, &[Graph(Uniform)],
        Err("its training graph draws tokens uniformly, without any variable")),
    (Model::Generator, &[Graph(Trained)],
        Err("its training graph has a generator, but its variables were not saved or were removed")),
    (Model::Generator, &[Has(TaskHead)], Err("it was fine-tuned for a task")),
    (Model::Generator, &[],
        Err("no variable is in the scopes generator/ and generator_predictions/")),

    // `tasks` finds the class from the head itself.
    (Model::FineTuned, &[Has(TaskHead)], Ok((ModelClass::Model, ELECTRA))),
    (Model::FineTuned, &[],
        Err("no variable belongs to the head of a task (task_specific/, or a transformers class)")),
];

/// A kind of checkpoint, by the models that it holds.
struct Kind {
    conditions: &'static [Condition],
    key: &'static str,
    description: &'static str,
}

/// The kinds of checkpoints.
#[rustfmt::skip]
const KINDS: &[Kind] = &[
    Kind { conditions: &[Has(TaskHead), Has(DiscriminatorHead)], key: "fine_tuned",
        description: "an encoder with the head of a task and pre-training heads" },
    Kind { conditions: &[Has(TaskHead), Has(GeneratorHead)], key: "fine_tuned",
        description: "an encoder with the head of a task and pre-training heads" },
    Kind { conditions: &[Has(TaskHead)], key: "fine_tuned",
        description: "an encoder with the head of a task" },
    Kind { conditions: &[Has(ElectricGenerator)], key: "electric",
        description: "Electric; its generator has two towers" },
    Kind { conditions: &[SharesWords, Has(DiscriminatorHead)], key: "shared_word_embeddings",
        description: "ELECTRA; the generator shares the discriminator's word embeddings" },
    Kind { conditions: &[Has(GeneratorEmbeddings), Has(DiscriminatorHead)], key: "untied_generator_embeddings",
        description: "ELECTRA; the generator has embeddings of its own" },
    Kind { conditions: &[Has(GeneratorEncoder), Has(DiscriminatorHead)], key: "default",
        description: "ELECTRA; the generator shares the discriminator's embeddings" },
    Kind { conditions: &[Has(GeneratorEncoder)], key: "generator",
        description: "a generator, and no discriminator" },
    Kind { conditions: &[Has(GeneratorHead), Has(DiscriminatorHead)], key: "tied_generator",
        description: "ELECTRA; one encoder serves both models" },
    Kind { conditions: &[Has(GeneratorHead)], key: "masked_lm",
        description: "a masked language model, and no discriminator" },
    Kind { conditions: &[Has(DiscriminatorHead), Graph(Uniform)], key: "uniform_generator",
        description: "ELECTRA with a uniform generator, which has no weights" },
    Kind { conditions: &[Has(DiscriminatorHead)], key: "no_generator",
        description: "an ELECTRA discriminator; no generator in this checkpoint" },
    Kind { conditions: &[Has(Encoder)], key: "encoder",
        description: "an ELECTRA encoder without an ELECTRA head" },
];

/// The models that a checkpoint holds.
#[derive(Clone, Copy)]
pub struct TrainingSetup {
    kind: &'static Kind,
    places: [Place; Model::ALL.len()],
}

impl fmt::Debug for TrainingSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

impl TrainingSetup {
    /// Determines what a checkpoint holds from the roles of its variables. The training graph is read only
    /// if the roles do not show whether there was a generator.
    pub fn of(inventory: &Inventory, graph: Option<&MetaGraph>) -> Result<Self, Error> {
        let setup = Self::recognise(inventory, graph);
        architecture::refuse_other(inventory, setup.is_err())?;
        setup
    }

    fn recognise(inventory: &Inventory, graph: Option<&MetaGraph>) -> Result<Self, Error> {
        let is_open = !inventory.has(GeneratorHead) && !inventory.has(ElectricGenerator);
        let in_graph = match graph {
            Some(graph) if is_open => GraphGenerator::read(graph, inventory),
            _ => GraphGenerator::Unknown,
        };
        let holds = |conditions: &[Condition]| {
            conditions.iter().all(|condition| match *condition {
                Has(role) => inventory.has(role),
                Lacks(role) => !inventory.has(role),
                Graph(generator) => in_graph == generator,
                SharesWords => inventory.shares_word_embeddings(),
            })
        };
        let Some(kind) = KINDS.iter().find(|kind| holds(kind.conditions)) else {
            if inventory.averages() > 0 {
                return Err(Error::OnlyAverages);
            }
            if let Some(error) = garden::numbered_variables(inventory.entries()) {
                return Err(error);
            }
            return Err(Error::NotElectra {
                examples: inventory
                    .entries()
                    .iter()
                    .filter(|entry| entry.role == Role::Unknown)
                    .map(|entry| entry.name.clone())
                    .take(3)
                    .collect(),
            });
        };
        let places = Model::ALL.map(|model| {
            let mut rows = PLACES.iter().filter(|(of, ..)| *of == model);
            let row = rows.find(|(_, conditions, _)| holds(conditions));
            row.expect("the last row has no condition").2
        });
        Ok(Self { kind, places })
    }

    /// Returns the class that `model` is exported as, and its scopes.
    pub fn place(self, model: Model) -> Result<(ModelClass, Scopes), Error> {
        self.at(model).map_err(|why| Error::NoSuchModel {
            model,
            why,
            instead: self.models().next(),
        })
    }

    /// Returns the models that can be exported.
    pub fn models(self) -> impl Iterator<Item = Model> {
        Model::ALL
            .into_iter()
            .filter(move |&model| self.at(model).is_ok())
    }

    /// Returns the name in JSON.
    pub fn key(self) -> &'static str {
        self.kind.key
    }

    /// Returns a description in one line.
    pub fn description(self) -> &'static str {
        self.kind.description
    }

    fn at(self, model: Model) -> Place {
        let at = Model::ALL.iter().position(|other| *other == model);
        self.places[at.expect("Model::ALL has every model")]
    }
}

impl GraphGenerator {
    /// Finds the generator in a graph. The original code puts the generator's head into
    /// `generator_predictions/`; a uniform generator has only constants there.
    fn read(graph: &MetaGraph, inventory: &Inventory) -> Self {
        let mut found = Self::Unknown;
        for node in graph.nodes() {
            let name = inventory.rename(&graph.name(node));
            let in_head = names::below(&name, names::GENERATOR_HEAD);
            if names::below(&name, GENERATOR_BODY).is_some() || in_head == Some("output_bias") {
                return Self::Trained;
            }
            if in_head.is_some() {
                found = Self::Uniform;
            }
        }
        found
    }
}

/// Returns true if the original code computes the head count of this model from its hidden size. It does
/// so for every generator with its own encoder (`pretrain_helpers.get_generator_config`), so that
/// `--num-attention-heads` does not apply to it if both models are exported.
pub fn follows_head_rule(model: Model, scopes: Scopes) -> bool {
    model == Model::Generator && scopes.body == GENERATOR_BODY
}
