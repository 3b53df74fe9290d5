#!/usr/bin/env bash
# Installs what is missing: Debian packages by name, and a Rust toolchain new enough for Kiln.
#
#   perf-scripts/install.sh [PACKAGE]...
#
# Needs root (or sudo) only when something is missing.
set -euo pipefail

need_rust=1.88

wanted=(build-essential pkg-config python3-dev "$@")
find_missing() {
    missing=()
    local package
    for package in "${wanted[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
}

# Twice, since what is installed can push out what was there in another release: qemu-block-extra takes a qemu-utils from
# backports with it, and the second round brings the one that fits.
find_missing
for _ in 1 2; do
    [ ${#missing[@]} -gt 0 ] || break
    echo "installing: ${missing[*]}" >&2
    sudo=
    if [ "$(id -u)" != 0 ]; then
        sudo=sudo
    fi
    $sudo apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
    find_missing
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "these packages push each other out: ${missing[*]}; see which of them are held or from another release" \
        "(apt-cache policy ${missing[*]})" >&2
    exit 1
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
