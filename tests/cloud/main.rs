//! Drives the program with outputs in a bucket, which a server on loopback holds.

mod interrupted;
mod world;
mod write;
mod write_faults;
