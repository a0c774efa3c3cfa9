#!/usr/bin/env bash
# The compiler for the crates of this workspace when they are fuzzed: `"$@"` is rustc with its arguments.
# The flags are those of `cargo fuzz --sanitizer none`. Dependencies are compiled without them, once for
# tests and fuzzing.
exec "$@" \
    -Copt-level=3 \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
