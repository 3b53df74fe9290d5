#!/usr/bin/env bash
# Installs what the tests need and passes them all: formatting, lints, documentation, unit tests, and the tests with real
# peers on real mounts. Needs root. KILN_TEST_SECONDS=600 lets the stress tests run for ten minutes each.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

if [ "$(id -u)" != 0 ]; then
    echo "the tests mount file systems and set trusted.* attributes: run them as root" >&2
    exit 1
fi
step "installing what is missing"
perf-scripts/install.sh fuse3 attr acl xxd fio dbench stress-ng e2fsprogs glusterfs-server glusterfs-client python3 \
    python3-venv python3-dev python3-pytest python3-prometheus-client shellcheck openssl \
    qemu-utils qemu-block-extra iproute2
export PATH="$HOME/.cargo/bin:$PATH"
[ -e /dev/fuse ] || modprobe fuse || true
if ! command -v pjdfstest >/dev/null; then
    cargo install --quiet --locked --version 0.2.2 pjdfstest
fi

step "formatting"
cargo fmt --all --check
step "lints"
cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
step "documentation (of the inside, too: the modules explain themselves to those who change them)"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --document-private-items --locked
step "tests"
# The mounts of one test must not starve those of another on a small machine.
threads=${KILN_TEST_THREADS:-2}
# Mounts take io_uring where it is allowed, so it is for this run; then what depends on the way runs again without.
switch=/sys/module/fuse/parameters/enable_uring
if [ -w "$switch" ] && [ "$(cat "$switch")" != Y ]; then
    trap 'echo N >"$switch"' EXIT
    echo Y >"$switch"
fi
cargo test --workspace --locked -- --test-threads "$threads"
step "tests of mounts, through /dev/fuse"
# The whole workspace again: with one package alone, features would differ and all be built anew.
KILN_TEST_TRANSPORT=device cargo test --workspace --locked --test real -- --test-threads "$threads" mount:: pjdfstest::
step "the scripts that measure"
shellcheck -x perf-scripts/*.sh perf-scripts/lib/*.sh
/usr/bin/python3 -m pytest -q -p no:cacheprovider perf-scripts/tests
step "the Python package: its wheel, types, and tests"
tests/python.sh
