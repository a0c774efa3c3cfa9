//! Files in buckets (Google Cloud Storage, S3, Azure) and behind web addresses: listing, positioned reads, uploads.
//!
//! A [`Bucket`] answers the questions that a directory answers. A [`RemoteFile`] is read like an open file, from
//! several threads: the ranges that will be needed are announced first ([`RemoteFile::prepare`]), merged, cut into
//! parts and fetched many at a time into a temporary file, so that memory does not grow with the file and nothing is
//! fetched twice. An [`Outbox`] is written to: small objects whole, large files in parts ([`Upload`]), and every change can
//! be taken back ([`Undo`]).
//!
//! | module | contents |
//! |---|---|
//! | [`address`] | the parts of a URL |
//! | `connect` | the client of a store, with credentials from the environment |
//! | `environment` | where credentials and settings are looked for |
//! | `bucket` | listing, and what is known of each name |
//! | `pages` | the names in a directory, page by page |
//! | `remote_file` | positioned reads of one file |
//! | `parts` | which ranges are fetched, and in which order |
//! | `compare` | reading an upload again, to compare it |
//! | `fetch` | fetching one part: resuming, stalls, replaced files |
//! | `outbox` | a directory in a bucket that is written to |
//! | `objects` | small objects in it |
//! | `upload` | sending one large file in parts |
//! | `undo` | removing and restoring after a failure |
//! | `failure` | errors of a store in words, without secrets |
//! | `runtime` | the threads that wait for the network |
//!
//! The functions block and must be called from threads that do not belong to an asynchronous runtime.

pub mod address;
mod bucket;
mod compare;
mod connect;
mod environment;
mod failure;
mod fetch;
mod objects;
mod outbox;
mod pages;
mod parts;
mod remote_file;
mod runtime;
mod sys;
mod undo;
mod upload;

pub use address::Address;
pub use bucket::{Bucket, Entry};
pub use objects::{Mode, Stored};
pub use outbox::Outbox;
pub use remote_file::{RemoteFile, fetched_bytes};
pub use undo::Undo;
pub use upload::{MULTIPART_FROM, Upload};
