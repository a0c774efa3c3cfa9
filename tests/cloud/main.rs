//! Drives the program with checkpoints and outputs in a bucket, which a server on loopback holds.

mod write;
