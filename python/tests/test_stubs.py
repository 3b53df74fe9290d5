from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kiln

TOOLS = Path(__file__).resolve().parent.parent / "tools"


@pytest.mark.parametrize("tool", ["generate_stubs.py", "generate_native_stubs.py"])
def test_the_stubs_fit_the_tables(tool: str) -> None:
    if not (TOOLS.parent / "kiln" / "__init__.py").exists():
        pytest.skip("the stubs are checked in the source tree")
    command, environment = [sys.executable, str(TOOLS / tool), "--check"], {**os.environ, "PYTHONPATH": str(TOOLS.parent)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_base_class_has_no_fops() -> None:
    for name, *_ in kiln.FOPS:
        assert not hasattr(kiln.Translator, name)
