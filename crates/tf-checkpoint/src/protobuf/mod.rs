//! Protobuf messages, decoded field by field.

pub(crate) mod message;
pub(crate) mod objects;
pub(crate) mod wire;
