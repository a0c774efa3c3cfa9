//! Drives the program with checkpoints and outputs in a bucket, which a server on loopback holds.

mod batch;
#[cfg(unix)]
mod interrupted;
mod read;
mod read_faults;
mod world;
mod write;
mod write_faults;
