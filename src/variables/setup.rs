//! Which models a checkpoint holds, and in which scopes.
//!
//! Both follow from the roles that occur in it (`Sign`), by two tables: `PLACES` says for each model
//! where its embeddings and its body are, or why it is not there; `KINDS` says what the checkpoint as a
//! whole is called. In each the first row whose signs are there (and whose others are not) decides. The
//! rows of the generator are the ways in which the original code builds one
//! (`pretrain/pretrain_model.py`). A description says what is in the checkpoint; how it was trained is
//! said only where that follows.

use std::fmt;

use candle_electra::ModelClass;
use tf_checkpoint::MetaGraph;

use crate::variables::inventory::Inventory;
use crate::variables::model::Model;
use crate::variables::names::{ELECTRA, GENERATOR, Scopes};
use crate::variables::role::Role;
use crate::variables::{Error, architecture};

/// What is in a checkpoint, or in its training graph, that says which models it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// A variable of this role.
    Has(Role),
    /// No variable of this role.
    Lacks(Role),
    /// What the training graph says of a generator.
    Graph(GraphGenerator),
}

/// What a training graph says of the generator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum GraphGenerator {
    /// There is no graph, or nothing of a generator in it.
    #[default]
    Unknown,
    /// It drew tokens uniformly, without any variable.
    Uniform,
    /// It had variables.
    Trained,
}

use GraphGenerator::{Trained, Uniform};
use Role::{
    DiscriminatorHead, ElectricGenerator, Encoder, GeneratorEmbeddings, GeneratorEncoder,
    GeneratorHead, TaskHead,
};
use Sign::{Graph, Has, Lacks};

/// Where a model is, or why the checkpoint does not hold it.
type Place = Result<(ModelClass, Scopes), &'static str>;

/// A generator with an encoder of its own over the discriminator's embeddings.
const SHARED_EMBEDDINGS: Scopes = Scopes {
    embeddings: ELECTRA.embeddings,
    ..GENERATOR
};

/// Where each model is. The last row of a model has no condition.
#[rustfmt::skip]
const PLACES: &[(Model, &[Sign], Place)] = &[
    (Model::Discriminator, &[Has(DiscriminatorHead)], Ok((ModelClass::PreTraining, ELECTRA))),
    (Model::Discriminator, &[Has(GeneratorHead), Lacks(GeneratorEncoder), Lacks(TaskHead)],
        Err("it holds a masked language model alone")),
    (Model::Discriminator, &[Has(Encoder)], Ok((ModelClass::Model, ELECTRA))),
    (Model::Discriminator, &[], Err("it has no encoder in the scope electra/")),

    (Model::Generator, &[Has(ElectricGenerator)],
        Err("it is an Electric model, whose two-tower generator (generator_ltr, generator_rtl) \
             has no Hugging Face class")),
    (Model::Generator, &[Has(GeneratorHead), Has(GeneratorEncoder), Has(GeneratorEmbeddings)],
        Ok((ModelClass::MaskedLm, GENERATOR))),
    (Model::Generator, &[Has(GeneratorHead), Has(GeneratorEncoder)],
        Ok((ModelClass::MaskedLm, SHARED_EMBEDDINGS))),
    (Model::Generator, &[Has(GeneratorEncoder)],
        Err("its head (generator_predictions/) is not there, only its encoder (generator/)")),
    (Model::Generator, &[Has(GeneratorEmbeddings)],
        Err("only its embeddings (generator/embeddings/) are there")),
    (Model::Generator, &[Has(GeneratorHead), Has(TaskHead)],
        Err("its encoder (generator/) is not there, only its head (generator_predictions/)")),
    (Model::Generator, &[Has(GeneratorHead)], Ok((ModelClass::MaskedLm, ELECTRA))),
    (Model::Generator, &[Graph(Uniform)],
        Err("its training graph draws tokens uniformly, without any variable")),
    (Model::Generator, &[Graph(Trained)],
        Err("its training graph has a generator, whose variables were not saved or were removed")),
    (Model::Generator, &[Has(TaskHead)], Err("it was fine-tuned for a task")),
    (Model::Generator, &[],
        Err("there is no variable in the scopes generator/ and generator_predictions/")),

    // The class follows from the head itself.
    (Model::FineTuned, &[Has(TaskHead)], Ok((ModelClass::Model, ELECTRA))),
    (Model::FineTuned, &[],
        Err("no variable belongs to the head of a task (task_specific/, or a class of transformers)")),
];

struct Kind {
    signs: &'static [Sign],
    key: &'static str,
    description: &'static str,
}

/// What a checkpoint is called.
#[rustfmt::skip]
const KINDS: &[Kind] = &[
    Kind { signs: &[Has(TaskHead), Has(DiscriminatorHead)], key: "fine_tuned",
        description: "the head of a task, and pre-training heads" },
    Kind { signs: &[Has(TaskHead), Has(GeneratorHead)], key: "fine_tuned",
        description: "the head of a task, and pre-training heads" },
    Kind { signs: &[Has(TaskHead)], key: "fine_tuned",
        description: "an encoder with the head of a task" },
    Kind { signs: &[Has(ElectricGenerator)], key: "electric",
        description: "Electric; its generator has two towers" },
    Kind { signs: &[Has(GeneratorEmbeddings), Has(DiscriminatorHead)], key: "untied_generator_embeddings",
        description: "ELECTRA; the generator has embeddings of its own" },
    Kind { signs: &[Has(GeneratorEncoder), Has(DiscriminatorHead)], key: "default",
        description: "ELECTRA; the generator shares the discriminator's embeddings" },
    Kind { signs: &[Has(GeneratorEncoder)], key: "generator",
        description: "a generator, and no discriminator" },
    Kind { signs: &[Has(GeneratorHead), Has(DiscriminatorHead)], key: "tied_generator",
        description: "ELECTRA; one encoder serves both models" },
    Kind { signs: &[Has(GeneratorHead)], key: "masked_lm",
        description: "a masked language model, and no discriminator" },
    Kind { signs: &[Has(DiscriminatorHead), Graph(Uniform)], key: "uniform_generator",
        description: "ELECTRA with a uniform generator, which has no weights" },
    Kind { signs: &[Has(DiscriminatorHead)], key: "no_generator",
        description: "an ELECTRA discriminator; no generator in this checkpoint" },
    Kind { signs: &[Has(Encoder)], key: "encoder",
        description: "an ELECTRA encoder without a head of ELECTRA's" },
];

/// What a checkpoint holds.
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
    /// Finds out what a checkpoint holds by which roles occur in it; the training graph is asked only
    /// where the roles leave open whether there was a generator.
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
        let holds = |signs: &[Sign]| {
            signs.iter().all(|sign| match *sign {
                Has(role) => inventory.has(role),
                Lacks(role) => !inventory.has(role),
                Graph(generator) => in_graph == generator,
            })
        };
        let Some(kind) = KINDS.iter().find(|kind| holds(kind.signs)) else {
            if inventory.averages() > 0 {
                return Err(Error::OnlyAverages);
            }
            return Err(Error::NotElectra {
                examples: inventory
                    .items()
                    .iter()
                    .filter(|item| item.role == Role::Unknown)
                    .map(|item| item.name.clone())
                    .take(3)
                    .collect(),
            });
        };
        let places = Model::ALL.map(|model| {
            let mut rows = PLACES.iter().filter(|(of, ..)| *of == model);
            let row = rows.find(|(_, signs, _)| holds(signs));
            row.expect("the last row has no condition").2
        });
        Ok(Self { kind, places })
    }

    /// The class that `model` is written for and its scopes, or why there is none.
    pub fn place(self, model: Model) -> Result<(ModelClass, Scopes), Error> {
        self.at(model).map_err(|why| Error::NoSuchModel {
            model,
            why,
            instead: self.models().next(),
        })
    }

    /// The models that can be exported.
    pub fn models(self) -> impl Iterator<Item = Model> {
        Model::ALL
            .into_iter()
            .filter(move |&model| self.at(model).is_ok())
    }

    /// The name in JSON.
    pub fn key(self) -> &'static str {
        self.kind.key
    }

    /// A line for people.
    pub fn description(self) -> &'static str {
        self.kind.description
    }

    fn at(self, model: Model) -> Place {
        let at = Model::ALL.iter().position(|other| *other == model);
        self.places[at.expect("one of all")]
    }
}

impl GraphGenerator {
    /// The original code puts the generator's head into `generator_predictions/`; a uniform generator
    /// has nothing but constants there.
    fn read(graph: &MetaGraph, inventory: &Inventory) -> Self {
        let mut found = Self::Unknown;
        for node in graph.nodes() {
            let name = inventory.rename(&graph.name(node));
            if name.starts_with("generator/") || name == "generator_predictions/output_bias" {
                return Self::Trained;
            }
            if name.starts_with("generator_predictions/") {
                found = Self::Uniform;
            }
        }
        found
    }
}

/// The head counts that the original code sets by itself, as it does for every generator with an
/// encoder of its own (`pretrain_helpers.get_generator_config`), and where `--num-attention-heads`
/// does not reach when both models are exported.
pub fn follows_head_rule(model: Model, scopes: Scopes) -> bool {
    model == Model::Generator && scopes.body == GENERATOR.body
}
