//! A loaded model with its tokenizer.

use std::io;
use std::path::Path;

use candle_core::{Device, Tensor};
use candle_electra::{
    Batch, DiscriminatorHead, ElectraConfig, ElectraModel, LanguageModelHead, ModelClass,
};
use tf_checkpoint::storage::regular;
use tokenizers::Tokenizer;

use super::error::Error;
use super::sampling::draw;
use crate::export::{CONFIG_FILE, WEIGHTS_FILE, WeightsFile, read_config};
use crate::progress::Watch;
use crate::tokenizer::{MASK, TOKENIZER_FILE};

/// The maximum length of a tokenizer.json in bytes, as in the verification.
const MAX_TOKENIZER_LEN: u64 = 256 << 20;

/// A converted generator or discriminator with its tokenizer.
#[derive(Debug)]
pub struct Probe {
    tokenizer: Tokenizer,
    pub(super) mask_id: u32,
    pub(super) config: ElectraConfig,
    pub(super) model: ElectraModel,
    head: ProbeHead,
}

/// The two heads of pre-training.
#[derive(Debug)]
enum ProbeHead {
    Generator(LanguageModelHead),
    Discriminator(DiscriminatorHead),
}

/// A tokenized text.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tokens {
    /// Ids, with `[CLS]` and `[SEP]`.
    pub ids: Vec<u32>,
    /// The word piece of each id.
    pub pieces: Vec<String>,
    /// The index of the word of each piece; `None` for special tokens.
    pub words: Vec<Option<u32>>,
    /// Number of pieces that were cut off because the model has fewer positions.
    pub cut: usize,
}

impl Probe {
    /// Loads the model and the tokenizer of a directory.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        Self::load_watched(folder, &Watch::new(&()))
    }

    /// As [`load`](Self::load); `watch` can cancel it.
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
            .ok_or_else(|| bad_tokenizer(format!("it has no {MASK} token")))?;
        let weights = WeightsFile::open(&folder.join(WEIGHTS_FILE))?;
        let vb = weights.watched_builder(watch);
        let unfit = |error: candle_core::Error| Error::Unfit {
            folder: folder.to_owned(),
            what: error.to_string(),
        };
        let model = ElectraModel::load_parallel(vb.clone(), &config).map_err(unfit)?;
        let class = config.architectures.first().map_or("", String::as_str);
        let head = match ModelClass::from_name(class) {
            Some(class) if class.has_decoder() => {
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

    /// True for a generator, false for a discriminator.
    pub fn is_generator(&self) -> bool {
        matches!(self.head, ProbeHead::Generator(_))
    }

    /// Tokenizes a text, truncated to the positions of the model.
    pub fn tokenize(&self, text: &str) -> Result<Tokens, Error> {
        self.tokenize_to(text, self.config.max_position_embeddings)
    }

    /// Tokenizes a text, truncated to at most `limit` tokens.
    pub(super) fn tokenize_to(&self, text: &str, limit: usize) -> Result<Tokens, Error> {
        let mut tokens = self.encode(text)?;
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

    /// Tokenizes a text of any length.
    pub(super) fn encode(&self, text: &str) -> Result<Tokens, Error> {
        let encoding = self
            .tokenizer
            .encode(text, true)
            .map_err(|error| Error::Encode(error.to_string()))?;
        let size = self.config.vocab_size;
        if let Some(id) = encoding.get_ids().iter().find(|&&id| id as usize >= size) {
            return Err(Error::Encode(format!(
                "the tokenizer gives id {id}, the vocabulary of the model has {size} tokens"
            )));
        }
        Ok(Tokens {
            ids: encoding.get_ids().to_vec(),
            pieces: encoding.get_tokens().to_vec(),
            words: encoding.get_word_ids().to_vec(),
            cut: 0,
        })
    }

    /// Checks that a generator and a discriminator have vocabularies of the same size.
    pub(super) fn check_vocabulary_of(&self, discriminator: &Self) -> Result<(), Error> {
        let sizes = (self.config.vocab_size, discriminator.config.vocab_size);
        if sizes.0 == sizes.1 {
            Ok(())
        } else {
            Err(Error::OtherVocabulary(sizes.0, sizes.1))
        }
    }

    /// Replaces the tokens at `masked` by tokens drawn from the distribution of a generator.
    pub(super) fn replace(
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

    /// Returns the ids with `[MASK]` at the given positions.
    pub(super) fn masked(&self, ids: &[u32], positions: &[usize]) -> Vec<u32> {
        let mut masked = ids.to_vec();
        for &at in positions {
            masked[at] = self.mask_id;
        }
        masked
    }

    /// Returns the word piece of an id.
    pub(super) fn piece(&self, id: u32) -> String {
        self.tokenizer
            .id_to_token(id)
            .unwrap_or_else(|| format!("#{id}"))
    }

    /// Returns a generator's probability of every token, `[sequence][vocabulary]`.
    pub(super) fn token_probabilities(
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

    /// Returns a discriminator's probability that a token was replaced, `[sequence]`.
    pub(super) fn replaced_probabilities(
        &self,
        model: &ElectraModel,
        ids: &[u32],
    ) -> Result<Vec<f32>, Error> {
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

/// Returns the positions of all tokens but the special ones.
pub(super) fn ordinary(tokens: &Tokens) -> Vec<usize> {
    let has_word = |at: &usize| tokens.words[*at].is_some();
    (0..tokens.ids.len()).filter(has_word).collect()
}
