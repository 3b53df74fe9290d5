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
# shellcheck source-path=SCRIPTDIR
. "$here/lib/inside.sh"

case " $* " in
    *" --show "*) exec python3 "$lib/python_tail.py" "$@" ;;
esac
measure python_tail "glusterfs-client fuse3" "" -- "$@"
