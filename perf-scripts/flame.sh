#!/usr/bin/env bash
# A flame graph of a brick under a workload. `--help` tells the options. What can be made out of it is in the kernel, too, so perf
# must be allowed to see it: run as root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$here/lib/inside.sh"
case " $* " in
    *" --help "* | *" -h "*) ;;
    *)
        export PATH="$HOME/.cargo/bin:$PATH"
        "$here/install.sh" linux-perf binutils
        command -v inferno-flamegraph >/dev/null || cargo install --quiet --locked inferno
        ;;
esac
measure flame "glusterfs-server" "" -- "$@"
