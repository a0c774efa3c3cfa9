#!/usr/bin/env bash
# Writes the manual page and the completions that a program prints, in the layout of /usr/share.
#
# Usage: scripts/share.sh PROGRAM DIRECTORY
# maturin puts what is in python/electra_convert._native.data/data/share into the wheel, if it is there.
set -euo pipefail

program=$1
share=$2

# write FILE WORD...: what the program prints for the words.
write() {
    local file=$share/$1
    shift
    mkdir -p "$(dirname "$file")"
    "$program" "$@" >"$file.new"
    [ -s "$file.new" ] || { echo "$program $* prints nothing" >&2; exit 1; }
    mv "$file.new" "$file"
}

write man/man1/electra-convert.1 man
write bash-completion/completions/electra-convert completions bash
write zsh/site-functions/_electra-convert completions zsh
write fish/vendor_completions.d/electra-convert.fish completions fish
