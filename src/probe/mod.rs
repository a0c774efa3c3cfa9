//! What a converted model makes of text.
//!
//! | question | in |
//! |---|---|
//! | what does a generator put for each `[MASK]`? | [`fill`] |
//! | which tokens does a discriminator think were replaced? | [`detect`] |
//! | does another head count explain text better? | [`text_check`] |

pub mod detect;
pub mod fill;
mod statistics;
pub mod text_check;

use std::io;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use candle_electra::{
    Batch, DiscriminatorHead, ElectraConfig, ElectraModel, LanguageModelHead, ModelClass,
};
use tf_checkpoint::storage::regular;
use tokenizers::Tokenizer;

use crate::export::{CONFIG_FILE, LoadError, WEIGHTS_FILE, WeightsFile, read_config};
use crate::progress::{Stopped, Watch};
use crate::tokenizer::{MASK, TOKENIZER_FILE};

/// The largest tokenizer.json read, in bytes: a vocabulary of the largest size and as much again.
const MAX_TOKENIZER_LEN: u64 = 256 << 20;

/// A converted folder, ready to be asked.
#[derive(Debug)]
pub struct Probe {
    tokenizer: Tokenizer,
    mask_id: u32,
    config: ElectraConfig,
    model: ElectraModel,
    head: ProbeHead,
}

/// The two heads that a checkpoint holds.
#[derive(Debug)]
enum ProbeHead {
    Generator(LanguageModelHead),
    Discriminator(DiscriminatorHead),
}

/// A text as the model sees it.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Ids, `[CLS]` and `[SEP]` around them.
    pub ids: Vec<u32>,
    /// The same as word pieces.
    pub pieces: Vec<String>,
    /// For each piece the number of the word that it belongs to; `None` for special tokens.
    pub words: Vec<Option<u32>>,
    /// Number of pieces that were cut off because the model has no more positions.
    pub cut: usize,
}

impl Probe {
    /// Loads the model and the tokenizer of a folder.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        Self::load_watched(folder, &Watch::new(&()))
    }

    /// As [`load`](Self::load), and can be stopped.
    pub(crate) fn load_watched(folder: &Path, watch: &Watch<'_>) -> Result<Self, Error> {
        let config = read_config(&folder.join(CONFIG_FILE))?;
        let path = folder.join(TOKENIZER_FILE);
        let bad_tokenizer = |what: String| Error::Tokenizer {
            path: path.clone(),
            what,
        };
        let bytes = match regular::read(&path, MAX_TOKENIZER_LEN) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoTokenizer { path });
            }
            Err(error) => return Err(bad_tokenizer(error.to_string())),
        };
        let tokenizer =
            Tokenizer::from_bytes(&bytes).map_err(|error| bad_tokenizer(error.to_string()))?;
        let mask_id = tokenizer
            .token_to_id(MASK)
            .ok_or_else(|| bad_tokenizer(format!("it has no {MASK}")))?;
        let weights = WeightsFile::open(&folder.join(WEIGHTS_FILE))?;
        let vb = weights.watched_builder(watch);
        let unfit = |error: candle_core::Error| Error::Unfit {
            folder: folder.to_owned(),
            what: error.to_string(),
        };
        let model = ElectraModel::load_parallel(vb.clone(), &config).map_err(unfit)?;
        let class = config.architectures.first().map_or("", String::as_str);
        let head = match ModelClass::from_name(class) {
            Some(head) if head.has_decoder() => {
                let head = LanguageModelHead::load(vb, &config, model.word_embeddings());
                ProbeHead::Generator(head.map_err(unfit)?)
            }
            Some(ModelClass::PreTraining) => {
                ProbeHead::Discriminator(DiscriminatorHead::load(vb, &config).map_err(unfit)?)
            }
            _ => {
                return Err(Error::NoHead {
                    folder: folder.to_owned(),
                    class: class.to_owned(),
                });
            }
        };
        Ok(Self {
            tokenizer,
            mask_id,
            config,
            model,
            head,
        })
    }

    /// True when it fills masks, false when it finds replaced tokens.
    pub fn is_generator(&self) -> bool {
        matches!(self.head, ProbeHead::Generator(_))
    }

    /// Cuts a text into word pieces, as many as the model has positions for.
    pub fn tokenize(&self, text: &str) -> Result<Tokens, Error> {
        let mut tokens = self.encode(text)?;
        let limit = self.config.max_position_embeddings;
        if tokens.ids.len() > limit {
            tokens.cut = tokens.ids.len() - limit;
            // The last one stays `[SEP]`.
            let range = limit.saturating_sub(1)..tokens.ids.len() - 1;
            tokens.ids.drain(range.clone());
            tokens.pieces.drain(range.clone());
            tokens.words.drain(range);
        }
        Ok(tokens)
    }

    /// Cuts a text of any length into word pieces.
    fn encode(&self, text: &str) -> Result<Tokens, Error> {
        let encoding = self
            .tokenizer
            .encode(text, true)
            .map_err(|error| Error::Encode(error.to_string()))?;
        let size = self.config.vocab_size;
        if let Some(id) = encoding.get_ids().iter().find(|&&id| id as usize >= size) {
            return Err(Error::Encode(format!(
                "the tokenizer gives id {id}, the model's end at {size}"
            )));
        }
        Ok(Tokens {
            ids: encoding.get_ids().to_vec(),
            pieces: encoding.get_tokens().to_vec(),
            words: encoding.get_word_ids().to_vec(),
            cut: 0,
        })
    }

    /// A discriminator can only judge tokens of its own vocabulary.
    fn check_vocabulary_of(&self, discriminator: &Self) -> Result<(), Error> {
        let sizes = (self.config.vocab_size, discriminator.config.vocab_size);
        if sizes.0 == sizes.1 {
            Ok(())
        } else {
            Err(Error::OtherVocabulary(sizes.0, sizes.1))
        }
    }

    /// What a generator puts in place of the tokens at `masked`, drawn by its probabilities.
    fn replace(
        &self,
        ids: &[u32],
        masked: &[usize],
        random: &mut fastrand::Rng,
    ) -> Result<Vec<u32>, Error> {
        let probabilities = self.token_probabilities(&self.model, &self.masked(ids, masked))?;
        let mut replaced = ids.to_vec();
        for &at in masked {
            let id = draw(&probabilities[at], random);
            replaced[at] = u32::try_from(id).expect("a token of the vocabulary");
        }
        Ok(replaced)
    }

    /// The ids with `[MASK]` at the given positions.
    fn masked(&self, ids: &[u32], positions: &[usize]) -> Vec<u32> {
        let mut masked = ids.to_vec();
        for &at in positions {
            masked[at] = self.mask_id;
        }
        masked
    }

    /// The word piece of an id.
    fn piece(&self, id: u32) -> String {
        self.tokenizer
            .id_to_token(id)
            .unwrap_or_else(|| format!("#{id}"))
    }

    /// Probabilities of every token of the vocabulary, `[sequence][vocabulary]`, of a generator.
    fn token_probabilities(
        &self,
        model: &ElectraModel,
        ids: &[u32],
    ) -> Result<Vec<Vec<f32>>, Error> {
        let ProbeHead::Generator(head) = &self.head else {
            return Err(Error::NotAGenerator);
        };
        let hidden = hidden_states(model, ids)?;
        let probabilities = candle_nn::ops::softmax_last_dim(&head.forward(&hidden)?)?;
        Ok(probabilities.squeeze(0)?.to_vec2()?)
    }

    /// The probability of having been replaced, of every token, of a discriminator.
    fn replaced_probabilities(&self, model: &ElectraModel, ids: &[u32]) -> Result<Vec<f32>, Error> {
        let ProbeHead::Discriminator(head) = &self.head else {
            return Err(Error::NotADiscriminator);
        };
        let logits = head.forward(&hidden_states(model, ids)?)?;
        Ok(candle_nn::ops::sigmoid(&logits)?.squeeze(0)?.to_vec1()?)
    }
}

fn hidden_states(model: &ElectraModel, ids: &[u32]) -> Result<Tensor, Error> {
    let input_ids = Tensor::new(vec![ids.to_vec()], &Device::Cpu)?;
    Ok(model.forward(&Batch::new(&input_ids))?)
}

/// Positions of ordinary tokens: no `[CLS]`, `[SEP]` or other special one.
fn ordinary(tokens: &Tokens) -> Vec<usize> {
    let has_word = |at: &usize| tokens.words[*at].is_some();
    (0..tokens.ids.len()).filter(has_word).collect()
}

/// Share of tokens that are masked, as in training.
const MASK_SHARE: f64 = 0.15;

/// Draws the positions to mask: 15 %, at least one where there is any.
fn draw_masked(positions: &[usize], random: &mut fastrand::Rng) -> Vec<usize> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a small count"
    )]
    let n =
        ((positions.len() as f64 * MASK_SHARE).round() as usize).clamp(1, positions.len().max(1));
    let mut drawn = random.choose_multiple(positions.iter().copied(), n);
    drawn.sort_unstable();
    drawn
}

/// Draws an index with the given probabilities.
fn draw(probabilities: &[f32], random: &mut fastrand::Rng) -> usize {
    let mut rest = random.f32() * probabilities.iter().sum::<f32>();
    for (index, p) in probabilities.iter().enumerate() {
        rest -= p;
        if rest < 0.0 {
            return index;
        }
    }
    probabilities.len().saturating_sub(1)
}

/// Why a model cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The files of the model cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The folder has no tokenizer.
    #[error(
        "{} is missing: convert the checkpoint again with --vocab FILE --force",
        path.display()
    )]
    NoTokenizer {
        /// Where it should be.
        path: PathBuf,
    },
    /// The tokenizer cannot be read.
    #[error("{} is no tokenizer: {what}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A model without a head that says anything about text.
    #[error(
        "{} holds {}, which has neither a generator's nor a discriminator's head to ask",
        folder.display(),
        if class.is_empty() { "no class" } else { class.as_str() }
    )]
    NoHead {
        /// The folder.
        folder: PathBuf,
        /// Its class.
        class: String,
    },
    /// A discriminator where a generator is needed.
    #[error("this folder holds a discriminator, where a generator belongs")]
    NotAGenerator,
    /// A generator where a discriminator is needed.
    #[error("this folder holds a generator, where a discriminator belongs")]
    NotADiscriminator,
    /// A text that the tokenizer refuses.
    #[error("the text cannot be tokenized: {0}")]
    Encode(String),
    /// Too little text to measure anything.
    #[error("{}: {found} tokens are too few to measure, give a few kilobytes of text", path.display())]
    TooLittleText {
        /// The file.
        path: PathBuf,
        /// Number of tokens found.
        found: usize,
    },
    /// The generator's vocabulary is another.
    #[error(
        "generator and discriminator have vocabularies of {0} and {1} tokens: they are not of one checkpoint"
    )]
    OtherVocabulary(usize, usize),
    /// config.json and model.safetensors do not fit each other.
    #[error("the model in {} cannot be loaded: {what}", folder.display())]
    Unfit {
        /// The folder.
        folder: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// [`Progress`](crate::Progress) stopped the work.
    #[error("interrupted")]
    Interrupted,
    /// A computation failed.
    #[error("the model cannot be run")]
    Candle(#[from] candle_core::Error),
}

impl From<Stopped> for Error {
    fn from(Stopped: Stopped) -> Self {
        Self::Interrupted
    }
}
