//! Recognises variables that are state of a training run, not weights of a model: optimizer slots, moving
//! averages, accumulators, loss scales, counters, iterators.
//!
//! The rules are data (`tables`), each with an example from real code:
//!
//! | table | compares | safeguard |
//! |---|---|---|
//! | [`WORDS`](tables::WORDS) | a word after the name of a variable, or between an optimizer's name and it | the rest of the name must be a variable itself, so that a weight is never taken for a slot |
//! | [`OBJECTS`](tables::OBJECTS), [`ROOT_OBJECTS`](tables::ROOT_OBJECTS) | components of an object path | names of attributes do not matter |
//! | [`SCALARS`](tables::SCALARS) | the last component of a scalar's name | scalars in a model's scope are excluded: a head may have its own |
//!
//! The rules do not depend on the model: they cover encoders, heads and task heads, in the original
//! code's names and in TensorFlow 2's. A variable that no rule covers must be a weight.

mod states;
mod tables;

pub(crate) use states::States;
pub(crate) use tables::SLOT;
