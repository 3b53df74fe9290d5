#!/usr/bin/env bash
# Memory of Kiln and of glusterfsd after a million lookups, and when their client has gone. `--help` tells the options.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$here/lib/inside.sh"
measure memory "glusterfs-server" "" -- "$@"
