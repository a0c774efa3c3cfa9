//! Runs a converted model whose weights are read when they are needed.
//!
//! Of the encoder the weights of one layer are in memory ([`forward_streamed`]). Of the word embeddings, the largest tensor,
//! an encoder needs the rows of its tokens: they are read alone, and the ids are numbered anew. A decoder needs
//! all rows: it is computed in parts.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_electra::{
    Batch, DECODER_WEIGHT, ElectraConfig, GeneratorPredictions, Head, Hidden, ModelClass, Pass,
    WORD_EMBEDDINGS, forward_streamed,
};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use crate::export::WeightsFile;
use crate::progress::Watch;
use crate::threads;

/// Bytes of a decoder's weight that a thread reads at a time.
const PART: usize = 4 << 20;

/// Where the weights come from.
pub(crate) trait WeightSource: Sync {
    /// Returns a tensor of this shape.
    fn tensor(&self, name: &str, shape: &Shape, dtype: DType) -> Result<Tensor>;

    /// Returns rows of the word embeddings, in this order.
    fn word_rows(&self, rows: &[u32], dtype: DType) -> Result<Tensor>;

    /// True if there is a tensor of this name.
    fn contains(&self, name: &str) -> bool;
}

/// Reads the weights of a file.
pub(crate) struct FileWeights<'a> {
    weights: &'a WeightsFile,
    watch: &'a Watch<'a>,
}

impl<'a> FileWeights<'a> {
    pub(crate) fn new(weights: &'a WeightsFile, watch: &'a Watch<'a>) -> Self {
        Self { weights, watch }
    }

    /// Reads rows of a matrix and counts them.
    fn rows(&self, name: &str, rows: Range<usize>, dtype: DType) -> Result<Tensor> {
        let tensor = self.weights.rows(name, rows, dtype)?;
        self.count(name, tensor.elem_count())?;
        Ok(tensor)
    }

    /// Counts the bytes of elements that were read.
    fn count(&self, name: &str, elements: usize) -> Result<()> {
        let info = self.weights.info(name);
        let size = info.map_or(0, |info| info.dtype.bitsize() / 8);
        let counted = self.watch.advance((elements * size) as u64);
        counted.map_err(candle_core::Error::wrap)
    }
}

impl WeightSource for FileWeights<'_> {
    fn tensor(&self, name: &str, shape: &Shape, dtype: DType) -> Result<Tensor> {
        let none = Init::Const(0.0);
        let tensor =
            SimpleBackend::get(self.weights, shape.clone(), name, none, dtype, &Device::Cpu)?;
        self.count(name, tensor.elem_count())?;
        Ok(tensor)
    }

    fn word_rows(&self, rows: &[u32], dtype: DType) -> Result<Tensor> {
        let read = |&row: &u32| {
            let row = row as usize;
            self.rows(WORD_EMBEDDINGS, row..row + 1, dtype)
        };
        let rows = rows.iter().map(read);
        Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)
    }

    fn contains(&self, name: &str) -> bool {
        self.weights.info(name).is_some()
    }
}

/// A model in a file.
pub(crate) struct StreamedModel<'a> {
    file: FileWeights<'a>,
    /// Another source than the file.
    source: Option<&'a dyn WeightSource>,
    config: &'a ElectraConfig,
    dtype: DType,
}

impl<'a> StreamedModel<'a> {
    /// Creates a model that computes in float32.
    pub(crate) fn new(
        weights: &'a WeightsFile,
        config: &'a ElectraConfig,
        watch: &'a Watch<'a>,
    ) -> Self {
        Self {
            file: FileWeights::new(weights, watch),
            source: None,
            config,
            dtype: DType::F32,
        }
    }

    /// Takes the tensors from `source`, all but the decoder of a language model.
    pub(crate) fn with_source(mut self, source: &'a dyn WeightSource) -> Self {
        self.source = Some(source);
        self
    }

    pub(crate) fn with_dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Runs embeddings and layers for all passes; with `all_layers` the result has the hidden states of every
    /// layer.
    pub(crate) fn hidden(&self, passes: &[Pass<'_>], all_layers: bool) -> Result<Vec<Hidden>> {
        let ids: Vec<Vec<u32>> = passes
            .iter()
            .map(|pass| pass.batch.input_ids.flatten_all()?.to_vec1())
            .collect::<Result<_>>()?;
        let mut numbers: BTreeMap<u32, u32> = ids.iter().flatten().map(|&id| (id, 0)).collect();
        for (new, number) in (0..).zip(numbers.values_mut()) {
            *number = new;
        }
        let renumbered = std::iter::zip(passes, &ids).map(|(pass, ids)| {
            let ids = ids.iter().map(|id| numbers[id]).collect();
            Tensor::from_vec(ids, pass.batch.input_ids.shape(), &Device::Cpu)
        });
        let renumbered = renumbered.collect::<Result<Vec<_>>>()?;
        let passes = std::iter::zip(passes, &renumbered).map(|(pass, input_ids)| Pass {
            batch: Batch {
                input_ids,
                ..pass.batch
            },
            attend: pass.attend,
        });
        let config = ElectraConfig {
            vocab_size: numbers.len(),
            ..self.config.clone()
        };
        let rows: Vec<u32> = numbers.into_keys().collect();
        let check = || self.file.watch.check_candle();
        let passes: Vec<Pass<'_>> = passes.collect();
        forward_streamed(self.builder(&rows), &config, &passes, all_layers, &check)
    }

    /// Runs the head of a class on hidden states.
    pub(crate) fn logits(&self, class: ModelClass, hidden: &[&Tensor]) -> Result<Vec<Tensor>> {
        self.file.watch.check_candle()?;
        if class.has_decoder() {
            return self.decode(hidden);
        }
        let head = Head::load(class, self.builder(&[]), self.config, None)?;
        hidden.iter().map(|hidden| head.forward(hidden)).collect()
    }

    /// Returns the logits of a language model.
    fn decode(&self, hidden: &[&Tensor]) -> Result<Vec<Tensor>> {
        let (vocabulary, width) = (self.config.vocab_size, self.config.embedding_size);
        let vb = self.builder(&[]);
        let predictions = GeneratorPredictions::load(vb.clone(), self.config)?;
        let bias = vb.pp("generator_lm_head");
        let bias = bias.get_with_hints(vocabulary, "bias", Init::Const(0.0))?;
        let tokens = hidden.iter().map(|hidden| hidden.flatten_to(1));
        let tokens = Tensor::cat(&tokens.collect::<Result<Vec<_>>>()?, 0)?;
        let tokens = predictions.forward(&tokens)?;

        let weight = match self.file.weights.info(DECODER_WEIGHT) {
            Some(_) => DECODER_WEIGHT,
            None => WORD_EMBEDDINGS,
        };
        let rows = (PART / (width * size_of::<f32>()).max(1)).max(1);
        let parts = threads::map(vocabulary.div_ceil(rows), |part| {
            let first = part * rows;
            let last = vocabulary.min(first + rows);
            let weight = self.file.rows(weight, first..last, self.dtype)?;
            tokens.matmul(&weight.t()?)
        })?;
        let logits = Tensor::cat(&parts, 1)?.broadcast_add(&bias)?;
        let mut first = 0;
        let of_hidden = hidden.iter().map(|hidden| {
            let (batch, length, _) = hidden.dims3()?;
            let rows = logits.narrow(0, first, batch * length)?;
            first += batch * length;
            rows.reshape((batch, length, vocabulary))
        });
        of_hidden.collect()
    }

    /// Returns a builder in which the word embeddings have only `rows`.
    fn builder<'b>(&'b self, rows: &'b [u32]) -> VarBuilder<'b> {
        let backend = Backend {
            source: self.source.unwrap_or(&self.file),
            rows,
        };
        VarBuilder::from_backend(Box::new(backend), self.dtype, Device::Cpu)
    }
}

struct Backend<'a> {
    source: &'a dyn WeightSource,
    rows: &'a [u32],
}

impl SimpleBackend for Backend<'_> {
    fn get(&self, s: Shape, name: &str, _: Init, dtype: DType, _: &Device) -> Result<Tensor> {
        if name == WORD_EMBEDDINGS {
            self.source.word_rows(self.rows, dtype)
        } else {
            self.source.tensor(name, &s, dtype)
        }
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("the shape of {name} is not known")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.source.contains(name)
    }
}
