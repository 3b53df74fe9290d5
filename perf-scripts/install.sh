#!/usr/bin/env bash
# Installs what is missing: Debian packages by name, and a Rust toolchain new enough for Kiln.
#
#   perf-scripts/install.sh [PACKAGE]...
#
# Needs root (or sudo) only when something is missing.
set -euo pipefail

need_rust=1.88

missing=()
for package in build-essential pkg-config python3-dev "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing: ${missing[*]}" >&2
    sudo=
    if [ "$(id -u)" != 0 ]; then
        sudo=sudo
    fi
    $sudo apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

export PATH="$HOME/.cargo/bin:$PATH"
new_enough() {
    local have
    have=$(rustc --version 2>/dev/null | cut -d' ' -f2) || return 1
    [ -n "$have" ] && [ "$(printf '%s\n' "$need_rust" "$have" | sort -V | head -n1)" = "$need_rust" ]
}
if ! new_enough; then
    echo "installing a Rust toolchain ($need_rust or newer) with rustup" >&2
    command -v curl >/dev/null || "$0" curl ca-certificates
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c clippy -c rustfmt >&2
fi
