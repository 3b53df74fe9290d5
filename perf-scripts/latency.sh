#!/usr/bin/env bash
# Latency by load: operations at rising rates on Kiln and on glusterfsd. `--help` tells the options.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$here/lib/inside.sh"
measure latency "glusterfs-server" "" -- "$@"
