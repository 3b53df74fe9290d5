#!/usr/bin/env bash
# Mounts: Kiln's beside a classic FUSE passthrough, and the stock client's on both bricks. `--help` tells the options.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$here/lib/inside.sh"
measure mount "fuse3 glusterfs-server glusterfs-client $([ -n "${PEER:-}" ] || echo bindfs)" "" -- "$@"
