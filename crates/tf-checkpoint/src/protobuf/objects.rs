//! The messages of TensorFlow 2's object graphs, read from the wire format.
//!
//! Source: `trackable_object_graph.proto` and `saved_object_graph.proto` in `tensorflow/core/protobuf`.

use crate::protobuf::message::{Malformed, fields};

/// The number of the field with the objects, in `TrackableObjectGraph`.
pub(crate) const NODES: u32 = 1;
/// The number of the field with the children, in `TrackableObject` and in `SavedObject`.
pub(crate) const CHILDREN: u32 = 1;
/// The number of the field with the saved values, in `TrackableObject`.
pub(crate) const ATTRIBUTES: u32 = 2;

/// An `ObjectReference`: a child of an object.
pub(crate) struct Child<'a> {
    /// The number of the child among all objects.
    pub(crate) number: i32,
    pub(crate) name: &'a str,
}

impl<'a> Child<'a> {
    pub(crate) fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let (mut number, mut name) = (0, "");
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => number = field.int32()?,
                2 => name = field.text()?,
                _ => {}
            }
        }
        Ok(Self { number, name })
    }
}

/// A `SerializedTensor`: a value that an object saved.
pub(crate) struct Attribute<'a> {
    /// The name of the value in the object.
    pub(crate) name: &'a str,
    /// The key in a name-based checkpoint.
    pub(crate) full_name: &'a str,
    /// The key in this checkpoint.
    pub(crate) key: &'a str,
}

impl<'a> Attribute<'a> {
    pub(crate) fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let (mut name, mut full_name, mut key) = ("", "", "");
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => name = field.text()?,
                2 => full_name = field.text()?,
                3 => key = field.text()?,
                _ => {}
            }
        }
        Ok(Self {
            name,
            full_name,
            key,
        })
    }
}
