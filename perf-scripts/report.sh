#!/usr/bin/env bash
# One page of several results.json. `--help` tells the options.
set -euo pipefail
exec python3 "$(dirname "$0")/lib/report.py" "$@"
