#!/usr/bin/env bash
# Builds the Debian package: the program, its manual page and completions (both printed by the program itself), the
# units and the default config. Needs cargo-deb (cargo install cargo-deb).
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --locked --release
out=target/packaging
mkdir -p "$out"
target/release/twinfold man >"$out/twinfold.1"
target/release/twinfold completions bash >"$out/twinfold"
target/release/twinfold completions zsh >"$out/_twinfold"
target/release/twinfold completions fish >"$out/twinfold.fish"
cargo deb --no-build "$@"
