//! Keys of config.json for settings that leave no trace in the shapes of variables.

pub(crate) const HEADS: &str = "num_attention_heads";
pub(super) const ACTIVATION: &str = "hidden_act";
pub(super) const EPSILON: &str = "layer_norm_eps";
pub(super) const LAYERS: &str = "num_hidden_layers";
