#!/usr/bin/env bash
# Kiln and a stock glusterfsd, alternately in one run: what each operation costs the brick. `--help` tells the options.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$here/lib/inside.sh"
measure compare "glusterfs-server glusterfs-client fio fuse3 e2fsprogs" bare -- "$@"
