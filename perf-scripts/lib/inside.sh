# shellcheck shell=bash
# Sourced by the scripts that measure. `measure MODULE PACKAGES BENCHES -- ARGUMENTS` installs what is missing, builds Kiln and
# those of its benches (which become KILN_BENCH_NAME), and runs lib/MODULE.py in network and mount namespaces of its own, where
# GlusterFS's ports are free and mounts bother nobody. With --help it only runs lib/MODULE.py.
#
# KILN names a binary that is measured instead of being built.
lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

measure() {
    local module=$1 packages=$2 benches=$3
    shift 4
    local argument
    for argument in "$@"; do
        case "$argument" in
            -h | --help) exec python3 "$lib/$module.py" --help ;;
        esac
    done
    if [ "$(id -u)" != 0 ]; then
        echo "measuring makes mounts and sets trusted.* attributes: run this as root" >&2
        exit 1
    fi
    # shellcheck disable=SC2086 # names of packages, one word each
    "$lib/../install.sh" python3 iproute2 util-linux $packages
    export PATH="$HOME/.cargo/bin:$PATH"
    if [ -z "${KILN:-}" ]; then
        echo "building Kiln (nothing to do when it is built) ..." >&2
        # As demo.sh does: a bench comes with the binary, and another command with other features would build it anew.
        (cd "$lib/../.." && cargo bench --quiet --locked --bench bare --no-run)
        KILN=$(realpath "${CARGO_TARGET_DIR:-$lib/../../target}/release/kiln")
    fi
    export KILN
    local bench variable
    for bench in $benches; do
        variable=KILN_BENCH_$(tr a-z- A-Z_ <<<"$bench")
        if [ -z "${!variable:-}" ]; then
            export "$variable=$(built_bench "$bench")"
        fi
    done
    # As many connections as the machine lets one process have.
    ulimit -n "$(ulimit -Hn)"
    # shellcheck disable=SC2016 # the inner shell expands it
    exec unshare --net --mount -- bash -c 'ip link set lo up && exec "$@"' measure python3 "$lib/$module.py" "$@"
}

# The executable of a bench.
built_bench() {
    (cd "$lib/../.." && cargo bench --quiet --locked --bench "$1" --no-run --message-format=json) |
        python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("reason") == "compiler-artifact" and message["target"]["name"] == sys.argv[1] and message.get("executable"):
        print(message["executable"])
' "$1"
}
