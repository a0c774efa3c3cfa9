//! Warnings of a plan: facts that the user should know although the export succeeds.

use candle_electra::ModelClass;

use crate::config::candidate::ValueSource;
use crate::config::{HEADS, ResolvedConfig};
use crate::plan::cast::TargetDtype;
use crate::plan::options::{PlanOptions, TokenizerChoice, Weights};
use crate::plan::types::PlannedTensor;
use crate::variables::{Code, Inventory, Model, Role, Scopes, follows_head_rule};

/// The difference of an exported Electric discriminator from the original. Source:
/// `pretrain/run_pretraining.py` in google-research/electra, `_get_discriminator_output`.
const ELECTRIC: &str = "an Electric discriminator adds the log probability of each token under its \
    generator (log q) to its logits, which no Hugging Face class does: the encoder and the logits \
    without this term are exported, so that the probabilities of `probe` are not those of replaced \
    tokens";

/// What the variables of an encoder alone do not show.
const ELECTRA_OR_BERT: &str = "does not show whether the encoder was trained as an ELECTRA or as a BERT, \
    which compute the same";

/// Warns about a head count that is a default. That of a generator with an encoder of its own is computed by the
/// original code.
pub(super) fn about_head_count(
    model: Model,
    scopes: Scopes,
    resolved: &ResolvedConfig,
) -> Option<String> {
    let source = resolved.sources.get(HEADS)?;
    let is_default = matches!(source, ValueSource::OriginalCode(_));
    if !is_default || follows_head_rule(model, scopes) {
        return None;
    }
    let heads = resolved.config.num_attention_heads;
    let note = resolved.notes.get(HEADS)?;
    let model = model.key();
    Some(format!(
        "the head count {heads} of --model {model} comes from {source}; {note}"
    ))
}

/// Warns about renames that change no variable's name.
pub(super) fn about_renames(inventory: &Inventory) -> Vec<String> {
    let idle = inventory.idle_renames();
    let warning =
        |rename| format!("--rename '{rename}' changes no variable's name in this checkpoint");
    idle.map(warning).collect()
}

/// Warns that no vocabulary was found.
pub(super) fn about_tokenizer(choice: &TokenizerChoice) -> Option<String> {
    let TokenizerChoice::NotFound(_) = choice else {
        return None;
    };
    let looked = choice.looked_for();
    Some(format!(
        "no vocabulary found, so no tokenizer is written{looked}; give --vocab FILE"
    ))
}

/// Warns about the settings that a Model Garden checkpoint does not show. Pre-training heads show that it is
/// an ELECTRA.
pub(super) fn about_model_garden(
    inventory: &Inventory,
    resolved: &ResolvedConfig,
) -> Option<String> {
    if inventory.code() != Code::ModelGarden {
        return None;
    }
    let has_heads = inventory.has(Role::DiscriminatorHead) || inventory.has(Role::GeneratorHead);
    let is_electra = has_heads || resolved.is_stated_electra;
    let settings = &resolved.not_stated;
    if settings.is_empty() {
        return (!is_electra).then(|| format!("a Model Garden checkpoint {ELECTRA_OR_BERT}"));
    }
    let assumed: Vec<&str> = [("norm_first", "norm_first: false"), ("type", "type: bert")]
        .into_iter()
        .filter_map(|(key, value)| settings.contains(&key).then_some(value))
        .collect();
    let assumed = if assumed.is_empty() {
        String::new()
    } else {
        format!(", and {} assumed", assumed.join(" and "))
    };
    let model = if is_electra {
        String::new()
    } else {
        format!("; it {ELECTRA_OR_BERT}")
    };
    Some(format!(
        "a Model Garden checkpoint does not show the settings {} of its encoder, and no params.yaml \
         beside it states them{assumed}; compare them with the configuration of the training run{model}",
        settings.join(", ")
    ))
}

/// Warns that the exported discriminator of an Electric model lacks a term.
pub(super) fn about_electric(inventory: &Inventory, model: Model) -> Option<String> {
    let is_electric = inventory.has(Role::ElectricGenerator) && model == Model::Discriminator;
    is_electric.then(|| ELECTRIC.to_owned())
}

/// Warns about a head that the checkpoint lacks, or that is older than the encoder.
pub(super) fn about_heads<'a>(
    class: ModelClass,
    inventory: &Inventory,
    exportable_tasks: impl FnOnce() -> Vec<&'a str>,
) -> Option<String> {
    let has_task = inventory.has(Role::TaskHead);
    let warning = match class {
        ModelClass::Model if has_task => {
            return Some(format!(
                "a fine-tuned checkpoint has no discriminator head: only the encoder is exported, \
                 and ElectraForPreTraining will start with a new head{}",
                advice_on(&exportable_tasks(), inventory.tasks().len())
            ));
        }
        ModelClass::Model => {
            "this checkpoint has no discriminator head: the encoder is exported as ElectraModel, and \
             every other class will start with a new head"
        }
        ModelClass::PreTraining | ModelClass::MaskedLm if has_task => {
            "this checkpoint was fine-tuned for a task: its pre-training heads may be older than its \
             encoder"
        }
        _ => return None,
    };
    Some(warning.to_owned())
}

/// Returns how to export the heads of these tasks, out of `count` tasks.
fn advice_on(exportable: &[&str], count: usize) -> String {
    match exportable {
        [] => String::new(),
        [_] if count == 1 => " (--model finetuned exports the head of its task)".to_owned(),
        _ => format!(
            " (--model finetuned --task TASK exports the head of a task: {})",
            exportable.join(", ")
        ),
    }
}

/// Warns about averages that are not exported.
pub(super) fn about_averages(inventory: &Inventory, options: &PlanOptions) -> Option<String> {
    let averages = inventory.averages();
    (options.weights == Weights::Raw && averages > 0).then(|| {
        format!(
            "this checkpoint also holds moving averages of {averages} variables: the raw weights are \
             exported; --weights average exports the averages"
        )
    })
}

/// Warns about float64 variables, which `keep` does not keep.
pub(super) fn about_rounding(tensors: &[PlannedTensor], dtype: TargetDtype) -> Option<String> {
    let rounded = tensors
        .iter()
        .filter(|tensor| dtype == TargetDtype::Keep && tensor.cast.is_lossy())
        .count();
    (rounded > 0).then(|| format!("rounded {rounded} float64 variables to float32"))
}
