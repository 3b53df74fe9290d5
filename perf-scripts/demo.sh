#!/usr/bin/env bash
# Builds Kiln, makes a brick in a temporary directory, mounts it, runs a short mixed load, shows what it cost, cleans up.
#
#   perf-scripts/demo.sh [SECONDS]      default: 10
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}

perf-scripts/install.sh fuse3
export PATH="$HOME/.cargo/bin:$PATH"
echo "building (the first time takes a few minutes) ..." >&2
# Kiln, and what compare.sh measures beside it.
cargo bench --quiet --locked --bench bare --no-run
kiln=${CARGO_TARGET_DIR:-target}/release/kiln

dir=$(mktemp -d -t kiln-demo-XXXXXX)
pid=
cleanup() {
    trap - EXIT
    if [ -n "$pid" ] && kill -TERM "$pid" 2>/dev/null; then
        wait "$pid" || true
    fi
    umount -l "$dir/mnt" 2>/dev/null || true
    rm -rf -- "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
mkdir "$dir/brick" "$dir/mnt"

"$kiln" mount --brick "$dir/brick" --control-socket "$dir/control.sock" "$dir/mnt" 2>"$dir/log" &
pid=$!
for _ in $(seq 200); do
    mountpoint -q "$dir/mnt" && break
    kill -0 "$pid" 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
    sleep 0.05
done
mountpoint -q "$dir/mnt" || { cat "$dir/log" >&2; exit 1; }

echo
echo "== what the application sees: a mixed load on $(df -T "$dir/brick" | awk 'NR==2 {print $2}'), $(nproc) cores"
"$kiln" load --seconds "$seconds" --threads 4 "$dir/mnt"
echo
echo "== what the brick counted (debug/io-stats)"
"$kiln" stats --socket "$dir/control.sock"
kill -TERM "$pid"
wait "$pid"
pid=
echo
echo "== the brick afterwards"
"$kiln" check "$dir/brick"
