#!/usr/bin/env bash
# Tests the Python package as its users get it: builds the wheel, installs it into a fresh virtual environment, and runs
# mypy and the tests there, away from the source tree. Needs python3, python3-venv, python3-dev and cargo, and PyPI for the
# tools. Arguments go to pytest: tests/python.sh -k replay
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYO3_PYTHON:-/usr/bin/python3}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
export PATH="$work/venv/bin:$PATH" PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
pip install --quiet 'maturin>=1.7,<2' 'mypy>=1.8,<2'

# Extension modules are linked otherwise than the brick: with a directory of their own, neither build undoes the other.
# The debug profile: it is built quickly, and checks for overflows.
cd "$root/python"
PYO3_PYTHON="$python" maturin build --quiet --profile dev --locked --interpreter "$python" \
    --target-dir "$root/target/wheel" --out "$work/wheels"
wheel=$(echo "$work"/wheels/kiln-*.whl)
pip install --quiet "$wheel[test,encryption]"

# Only what a user of the wheel has to bring along.
mkdir -p "$work/away/docs" "$work/away/python"
cp "$root/docs/python.md" "$work/away/docs"
cd "$root/python"
cp -r tests examples tools pyproject.toml "$work/away/python"
cd "$work/away/python"

installed=$(python -c 'import kiln, pathlib; print(pathlib.Path(kiln.__file__).parent)')
case $installed in
"$work"/venv/*) ;;
*) echo "the tests would test $installed instead of the wheel" >&2 && exit 1 ;;
esac
for tool in generate_stubs.py generate_native_stubs.py; do
    python "$root/python/tools/$tool" --check
done
python -m mypy --strict --package kiln --package gluster
python -m mypy --strict examples tests
python -m pytest -p no:cacheprovider "$@"
