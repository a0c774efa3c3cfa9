//! Protobuf messages, field by field.

pub(crate) mod message;
pub(crate) mod wire;
