#!/usr/bin/env bash
# A server with NVMe drives: is it set up for speed, and what does a brick do on it? `--help` tells the options.
set -euo pipefail
exec python3 "$(dirname "$0")/lib/nvme.py" "$@"
