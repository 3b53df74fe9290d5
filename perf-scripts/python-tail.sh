#!/usr/bin/env bash
# Whether a Python translator that does not return costs those who have nothing to do with it.
#
#   perf-scripts/python-tail.sh [--rounds N] [--seconds S] [--save FILE] [--show FILE]
#
# One stock client reads 4 KiB at random places of a file, one read at a time. Another one looks names up in a directory,
# for which the handler of a translator with a time limit of 500 ms sleeps one second, or loops for ever. Runs without a
# Python layer, with the sleeping one and with the looping one alternate, each with a new brick process. --save adds the
# figures to a file, --show shows those of a file.
#
# Needs root: it works in namespaces of its own, and mounts.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

case " $* " in
    *" --show "*) exec python3 "$here/python-tail.py" "$@" ;;
esac
if [ -z "${KILN_PYTHON_TAIL_INSIDE:-}" ]; then
    "$here/install.sh" glusterfs-client python3 iproute2 fuse3
    export PATH="$HOME/.cargo/bin:$PATH"
    (cd "$here/.." && cargo build --release --quiet --locked --bin kiln)
    KILN_PYTHON_TAIL_INSIDE=1 exec unshare --net --mount -- "$0" "$@"
fi
ip link set lo up
export KILN=${KILN:-$(realpath "${CARGO_TARGET_DIR:-$here/../target}/release/kiln")}
exec python3 "$here/python-tail.py" "$@"
