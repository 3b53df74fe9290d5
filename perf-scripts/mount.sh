#!/usr/bin/env bash
# A Kiln mount beside a classic FUSE passthrough over the same file system, alternately in one run.
#
#   perf-scripts/mount.sh [--rounds N] [--seconds S]
#
# The peer is Debian's `bindfs`, or what PEER names: a command that mounts {source} at {target} and stays in the
# foreground, such as PEER='./passthrough -f -o modules=subdir,subdir={source} {target}' for the example of libfuse
# (package libfuse3-dev, /usr/share/doc/libfuse3-dev/examples, which says in its first lines how it is compiled).
# BRICK_DIR names the directory to work in; the default is a tmpfs made for the run.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "${PEER:-}" ]; then perf-scripts/install.sh fuse3; else perf-scripts/install.sh fuse3 bindfs; fi
export PATH="$HOME/.cargo/bin:$PATH"
peer=${PEER:-"bindfs -f --no-allow-other -o attr_timeout=0,entry_timeout=0 {source} {target}"}
peer_name=${PEER_NAME:-$(basename "${peer%% *}")}
cargo build --release --quiet --locked --bin kiln
cargo bench --quiet --locked --bench mount_compare --no-run
kiln=${CARGO_TARGET_DIR:-target}/release/kiln

dir=$(mktemp -d -t kiln-mount-XXXXXX)
pids=()
cleanup() {
    trap - EXIT
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
"$kiln" mount --brick "$dir/data/brick" --control-socket "$dir/control.sock" --attr-timeout 0 --entry-timeout 0 "$dir/kiln" 2>"$dir/kiln.log" &
pids+=($!)
command=${peer//\{source\}/$dir/data/source}
command=${command//\{target\}/$dir/peer}
$command >"$dir/peer.log" 2>&1 &
pids+=($!)
wait_mounted "$dir/kiln"
wait_mounted "$dir/peer"

echo "$(uname -sr), $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), $(date -I), $(stat -f -c %T "$dir/data")"
cargo bench --quiet --locked --bench mount_compare -- --a kiln "$dir/kiln" "${pids[0]}" --b "$peer_name" "$dir/peer" "${pids[1]}" "$@"
