//! How the checkpoint was trained, and so which models it holds and in which scopes.
//!
//! The original code builds its generator in seven ways (`pretrain/pretrain_model.py`,
//! `finetune/`). They are told apart by which roles occur, and each says where the embeddings and
//! the body of either model are. A new setup is one more row of the table.

use std::fmt;

use super::Error;
use super::head::Head;
use super::names::{ELECTRA, GENERATOR, Scopes};
use super::role::{Inventory, Role};

/// What can be exported: one of the two models, or what was made of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Model {
    /// Tells which tokens were replaced; what ELECTRA is for.
    Discriminator,
    /// Fills masked tokens.
    Generator,
    /// A discriminator with the head of a task.
    FineTuned,
}

impl Model {
    /// All, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Discriminator, Self::Generator, Self::FineTuned];
    /// The two of pre-training.
    pub const BOTH: [Self; 2] = [Self::Discriminator, Self::Generator];

    /// The name in options, JSON and folder names.
    pub fn key(self) -> &'static str {
        match self {
            Self::Discriminator => "discriminator",
            Self::Generator => "generator",
            Self::FineTuned => "finetuned",
        }
    }

    /// What people call it.
    pub fn noun(self) -> &'static str {
        match self {
            Self::FineTuned => "fine-tuned model",
            _ => self.key(),
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.noun())
    }
}

/// How a checkpoint was trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The generator shares the discriminator's embeddings.
    Default,
    /// `untied_generator_embeddings`
    UntiedEmbeddings,
    /// `untied_generator: false`
    Tied,
    /// `electra_objective: false`
    MaskedLm,
    /// `uniform_generator`
    UniformGenerator,
    /// `electric_objective`
    Electric,
    /// `task_specific/`
    FineTuned,
}

/// One model in one setup: where it is, or why there is none.
type Place = Result<(Head, Scopes), &'static str>;

struct Row {
    setup: Setup,
    key: &'static str,
    description: &'static str,
    discriminator: Place,
    generator: Place,
}

const DISCRIMINATOR: Place = Ok((Head::PreTraining, ELECTRA));
const SHARED_ENCODER: Place = Ok((Head::MaskedLm, ELECTRA));
/// A generator with an encoder of its own over the discriminator's embeddings.
const SHARED_EMBEDDINGS: Scopes = Scopes {
    embeddings: ELECTRA.embeddings,
    ..GENERATOR
};

const TABLE: &[Row] = &[
    Row {
        setup: Setup::Default,
        key: "default",
        description: "ELECTRA; the generator shares the discriminator's embeddings",
        discriminator: DISCRIMINATOR,
        generator: Ok((Head::MaskedLm, SHARED_EMBEDDINGS)),
    },
    Row {
        setup: Setup::UntiedEmbeddings,
        key: "untied_generator_embeddings",
        description: "ELECTRA; the generator has embeddings of its own",
        discriminator: DISCRIMINATOR,
        generator: Ok((Head::MaskedLm, GENERATOR)),
    },
    Row {
        setup: Setup::Tied,
        key: "tied_generator",
        description: "ELECTRA; one encoder serves both models",
        discriminator: DISCRIMINATOR,
        generator: SHARED_ENCODER,
    },
    Row {
        setup: Setup::MaskedLm,
        key: "masked_lm",
        description: "plain masked language model (electra_objective: false)",
        discriminator: Err("it was trained as a plain masked language model, without one"),
        generator: SHARED_ENCODER,
    },
    Row {
        setup: Setup::UniformGenerator,
        key: "uniform_generator",
        description: "ELECTRA with a uniform generator, which has no weights",
        discriminator: DISCRIMINATOR,
        generator: Err("its generator drew tokens uniformly and has no weights"),
    },
    Row {
        setup: Setup::Electric,
        key: "electric",
        description: "Electric; its generator has two towers",
        discriminator: DISCRIMINATOR,
        generator: Err(
            "it is an Electric model, whose two-tower generator (generator_ltr, generator_rtl) \
             has no Hugging Face class",
        ),
    },
    Row {
        setup: Setup::FineTuned,
        key: "fine_tuned",
        description: "fine-tuned for a task, without its pre-training heads",
        discriminator: Ok((Head::Model, ELECTRA)),
        generator: Err("it was fine-tuned for a task, which does not keep the generator"),
    },
];

impl Setup {
    /// Tells how the checkpoint was trained by which roles occur in it.
    pub fn of(inventory: &Inventory) -> Result<Self, Error> {
        let has = |role| inventory.has(role);
        let discriminator = has(Role::DiscriminatorHead);
        let generator = has(Role::GeneratorHead);
        if has(Role::TaskHead) {
            Ok(Self::FineTuned)
        } else if has(Role::ElectricGenerator) {
            Ok(Self::Electric)
        } else if has(Role::GeneratorEmbeddings) {
            Ok(Self::UntiedEmbeddings)
        } else if has(Role::GeneratorEncoder) {
            Ok(Self::Default)
        } else if generator && discriminator {
            Ok(Self::Tied)
        } else if generator {
            Ok(Self::MaskedLm)
        } else if discriminator {
            Ok(Self::UniformGenerator)
        } else {
            Err(Error::NotElectra {
                encoder: has(Role::Encoder),
                examples: inventory
                    .items()
                    .iter()
                    .filter(|item| item.role == Role::Unknown)
                    .map(|item| item.name.clone())
                    .take(3)
                    .collect(),
            })
        }
    }

    /// The class that `model` is written for and its scopes, or why there is none.
    pub fn place(self, model: Model) -> Result<(Head, Scopes), Error> {
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
        self.row().key
    }

    /// A line for people.
    pub fn description(self) -> &'static str {
        self.row().description
    }

    fn at(self, model: Model) -> Place {
        match model {
            Model::Discriminator => self.row().discriminator,
            Model::Generator => self.row().generator,
            // The head of the task is told by its variables.
            Model::FineTuned if self == Self::FineTuned => self.row().discriminator,
            Model::FineTuned => Err("it was not fine-tuned, there is no head of a task in it"),
        }
    }

    fn row(self) -> &'static Row {
        TABLE
            .iter()
            .find(|row| row.setup == self)
            .expect("every setup has a row")
    }
}

/// The head counts that the original code sets by itself, as it does for every generator with an
/// encoder of its own (`pretrain_helpers.get_generator_config`), and where `--num-attention-heads`
/// does not reach when both models are exported.
pub fn follows_head_rule(model: Model, scopes: Scopes) -> bool {
    model == Model::Generator && scopes.body == GENERATOR.body
}
