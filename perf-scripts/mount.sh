#!/usr/bin/env bash
# A Kiln mount beside a classic FUSE passthrough over the same file system, alternately in one run.
#
#   perf-scripts/mount.sh [--rounds N] [--seconds S]
#
# The peer is Debian's `bindfs`, or what PEER names: a command that mounts {source} at {target} and stays in the
# foreground, such as
#   PEER='./passthrough -f -o default_permissions,allow_other -o modules=subdir,subdir={source} {target}'
# for the example of libfuse (package libfuse3-dev, /usr/share/doc/libfuse3-dev/examples, which says in its first lines how
# it is compiled). Both sides keep no attributes and names, and let the kernel check permissions: with other options the
# kernel asks one of them more often than the other.
# BRICK_DIR names the directory to work in; the default is a tmpfs made for the run.
#
# Kiln is measured through /dev/fuse, and over io_uring where the kernel can do that; for the latter
# /sys/module/fuse/parameters/enable_uring is set to Y during the run.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "${PEER:-}" ]; then perf-scripts/install.sh fuse3; else perf-scripts/install.sh fuse3 bindfs; fi
export PATH="$HOME/.cargo/bin:$PATH"
peer=${PEER:-"bindfs -f -o default_permissions,allow_other,attr_timeout=0,entry_timeout=0 {source} {target}"}
peer_name=${PEER_NAME:-$(basename "${peer%% *}")}
cargo build --release --quiet --locked --bin kiln
cargo bench --quiet --locked --bench mount_compare --no-run
kiln=${CARGO_TARGET_DIR:-target}/release/kiln

dir=$(mktemp -d -t kiln-mount-XXXXXX)
pids=()
switch=/sys/module/fuse/parameters/enable_uring
switch_was=
cleanup() {
    trap - EXIT
    if [ -n "$switch_was" ]; then echo "$switch_was" >"$switch" || true; fi
    umount -l "$dir/kiln" "$dir/peer" 2>/dev/null || true
    for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null && wait "$pid" || true; done
    umount -l "$dir/data" 2>/dev/null || true
    rm -rf -- "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
mkdir "$dir/data" "$dir/kiln" "$dir/peer"
if [ -n "${BRICK_DIR:-}" ]; then
    mount --bind "$BRICK_DIR" "$dir/data"
else
    mount -t tmpfs kiln-mount "$dir/data"
fi
mkdir -p "$dir/data/brick" "$dir/data/source"

wait_mounted() {
    for _ in $(seq 200); do mountpoint -q "$1" && return; sleep 0.05; done
    echo "$1 was not mounted" >&2; cat "$dir"/*.log >&2; exit 1
}
command=${peer//\{source\}/$dir/data/source}
command=${command//\{target\}/$dir/peer}
$command >"$dir/peer.log" 2>&1 &
pids+=($!)
peer_pid=$!
wait_mounted "$dir/peer"
echo "$(uname -sr), $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), $(date -I), $(stat -f -c %T "$dir/data")"

# compare WAY [ARGUMENTS]: one run with Kiln's requests coming that way.
compare() {
    local way=$1
    shift
    "$kiln" mount --brick "$dir/data/brick" --control-socket "$dir/control.sock" --transport "$way" \
        --attr-timeout 0 --entry-timeout 0 "$dir/kiln" 2>"$dir/kiln.log" &
    local pid=$!
    pids+=("$pid")
    wait_mounted "$dir/kiln"
    printf '\n-- %s\n' "$way"
    cargo bench --quiet --locked --bench mount_compare -- \
        --a kiln "$dir/kiln" "$pid" --b "$peer_name" "$dir/peer" "$peer_pid" "$@"
    kill -TERM "$pid"
    wait "$pid"
}
compare device "$@"
if [ -w "$switch" ]; then
    switch_was=$(cat "$switch")
    echo Y >"$switch"
    compare io-uring "$@"
else
    echo "FUSE over io_uring is not measured: this kernel has no $switch (Linux 6.14, CONFIG_FUSE_IO_URING), or you are not root"
fi
