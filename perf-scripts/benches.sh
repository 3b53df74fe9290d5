#!/usr/bin/env bash
# Runs the criterion benches with short settings, within about two minutes once they are built, and prints their medians
# beside those of benches/baseline.json, which is of one machine on one day: look at ratios that stand out of the rest.
#
#   perf-scripts/benches.sh                     compare with the committed table
#   perf-scripts/benches.sh --save before       remember the results by criterion's own means …
#   perf-scripts/benches.sh --against before    … and compare with them, with criterion's statistics
#   perf-scripts/benches.sh --update            write benches/baseline.json anew
#   perf-scripts/benches.sh --only ring,codec   some of them
#   perf-scripts/benches.sh --results DIR       no run: what criterion left in DIR (target/criterion)
#
# `posix` needs root, for its loop images and trusted.* attributes, and is left out without.
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 perf-scripts/lib/benches.py "$@"
