#!/usr/bin/env bash
# Scaling with cores and with connections, Kiln and glusterfsd. `--help` tells the options.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$here/lib/inside.sh"
measure scale "glusterfs-server" "" -- "$@"
