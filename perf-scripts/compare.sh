#!/usr/bin/env bash
# Kiln and a stock glusterfsd under the same stock clients, alternately in one run: what an operation costs the brick.
#
#   perf-scripts/compare.sh [--rounds N] [--seconds S] [--only WORKLOAD]
#
# Both bricks serve the same volfile, each a directory of its own on one tmpfs. fio's gfapi engines are the client (with
# protocol/client and nothing that caches on top), then two stock FUSE mounts. A round is S seconds on each brick, in
# alternating order; the first round warms up and is dropped. CPU is that of all threads of the brick, from
# /proc/PID/task/*/schedstat, divided by the operations that fio counts.
#
# Needs root: it works in a network namespace of its own, where GlusterFS's port 24007 is free, and mounts.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=5
seconds=2
only=
while [ $# -gt 0 ]; do
    case "$1" in
        --rounds) rounds=$2; shift 2 ;;
        --seconds) seconds=$2; shift 2 ;;
        --only) only=$2; shift 2 ;;
        *) echo "usage: perf-scripts/compare.sh [--rounds N] [--seconds S] [--only WORKLOAD]" >&2; exit 2 ;;
    esac
done

if [ -z "${KILN_COMPARE_INSIDE:-}" ]; then
    perf-scripts/install.sh glusterfs-server glusterfs-client fio python3 iproute2 fuse3
    export PATH="$HOME/.cargo/bin:$PATH"
    cargo build --release --quiet --locked --bin kiln
    cargo bench --quiet --locked --bench mount_compare --no-run
    KILN_COMPARE_INSIDE=1 exec unshare --net --mount -- \
        "$0" --rounds "$rounds" --seconds "$seconds" ${only:+--only "$only"}
fi
ip link set lo up
kiln=$(realpath "${CARGO_TARGET_DIR:-target}/release/kiln")

dir=$(mktemp -d -t kiln-compare-XXXXXX)
pids=()
cleanup() {
    trap - EXIT
    umount -l "$dir/mnt-kiln" "$dir/mnt-stock" 2>/dev/null || true
    for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null && wait "$pid" || true; done
    umount -l "$dir/data" 2>/dev/null || true
    rm -rf -- "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
mkdir "$dir/data" "$dir/mnt-kiln" "$dir/mnt-stock"
mount -t tmpfs kiln-compare "$dir/data"

# brick_volfile SIDE PORT
brick_volfile() {
    mkdir "$dir/data/$1"
    cat >"$dir/$1.vol" <<VOLFILE
volume posix
    type storage/posix
    option directory $dir/data/$1
end-volume
volume access-control
    type features/access-control
    subvolumes posix
end-volume
volume locks
    type features/locks
    subvolumes access-control
end-volume
volume upcall
    type features/upcall
    subvolumes locks
end-volume
volume io-threads
    type performance/io-threads
    subvolumes upcall
end-volume
volume brick
    type debug/io-stats
    subvolumes io-threads
end-volume
volume server
    type protocol/server
    option transport-type tcp
    option transport.socket.bind-address 127.0.0.1
    option transport.socket.listen-port $2
    option auth.addr.brick.allow *
    subvolumes brick
end-volume
VOLFILE
    cat >"$dir/volume-$1" <<VOLFILE
volume client
    type protocol/client
    option transport-type tcp
    option remote-host 127.0.0.1
    option remote-port $2
    option remote-subvolume brick
end-volume
volume $1
    type features/utime
    subvolumes client
end-volume
VOLFILE
}
brick_volfile kiln 49152
brick_volfile stock 49153
"$kiln" serve --volfile "$dir/kiln.vol" --listen 127.0.0.1:49152 --control-socket "$dir/control.sock" ${KILN_ARGS:-} \
    2>"$dir/kiln.log" &
pids+=($!); kiln_pid=$!
glusterfsd -N -f "$dir/stock.vol" -l "$dir/stock.log" -p "$dir/stock.pid" &
pids+=($!); stock_pid=$!
# Whoever answers where libgfapi asks for the volfiles of clients: the same answer from the same place for both.
python3 perf-scripts/volfiles.py 127.0.0.1 24007 "$dir" &
pids+=($!)
wait_port() {
    for _ in $(seq 200); do (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.05; done
    echo "nobody listens at port $1" >&2; cat "$dir"/*.log >&2; exit 1
}
for port in 49152 49153 24007; do wait_port "$port"; done

echo "$(uname -sr), $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), $(date -I), tmpfs; $(glusterfsd --version | head -n1), $(fio --version); $rounds rounds of $seconds s"
python3 perf-scripts/compare.py --rounds "$rounds" --seconds "$seconds" ${only:+--only "$only"} \
    --dir "$dir" --kiln "$kiln_pid" --stock "$stock_pid"

if [ -z "$only" ] || [ "$only" = mount ]; then
    echo
    echo "-- through two FUSE mounts, one request at a time, attributes and names not kept"
    for side in kiln stock; do
        glusterfs -N -f "$dir/volume-$side" -l "$dir/mnt-$side.log" --attribute-timeout=0 --entry-timeout=0 \
            --direct-io-mode=enable "$dir/mnt-$side" &
        pids+=($!)
        for _ in $(seq 200); do mountpoint -q "$dir/mnt-$side" && break; sleep 0.05; done
        mountpoint -q "$dir/mnt-$side" || { cat "$dir/mnt-$side.log" >&2; exit 1; }
    done
    PATH="$HOME/.cargo/bin:$PATH" cargo bench --quiet --locked --offline --bench mount_compare -- \
        --a kiln "$dir/mnt-kiln" "$kiln_pid" --b glusterfsd "$dir/mnt-stock" "$stock_pid" \
        --rounds "$rounds" --seconds "$seconds"
fi
