#!/usr/bin/env bash
# What a cache of absent names gains, and what Python costs: the include search of the 2012 talk about glupy.
#
#   perf-scripts/lookup-cache.sh [--rounds N] [--way mount|stock]... [--searchers N]... [--late US]...
#                                [--html FILE] [--save FILE] [--show FILE]
#
# 1,000 files lie in 10 directories. A search tries the directories in order until it finds its file; 80 % of the searches
# are for 10 % of the files. 10,000 searches are one run, shared by the searchers, each a process of its own. Runs without a
# cache, with performance/nl-cache, with the cache in Python and with the one that handles batches alternate; each begins
# with a new brick process, so with an empty cache. The brick is on a tmpfs. The ways to it:
#
#   mount   `kiln mount`, names not kept by the kernel
#   stock   `kiln serve`, and a mount of the stock client, names not kept by its kernel; it has protocol/client alone
#
# Without --way both are measured, without --searchers 8 of them and 1, without --late storage as it is and storage whose lookups
# take 200 µs longer (debug/delay-gen), as those of a disk do that has to read. --html makes a page with plots; --save adds the
# figures to a file, and --show shows those of a file instead of measuring: a run can be taken in pieces.
#
# Needs root: it works in namespaces of its own, and mounts.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$here/lib/inside.sh"

case " $* " in
    *" --show "*) exec python3 "$lib/lookup_cache.py" "$@" ;;
esac
measure lookup_cache "glusterfs-client fuse3" "" -- "$@"
