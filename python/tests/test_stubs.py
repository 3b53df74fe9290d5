from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import kiln

TOOL = Path(__file__).resolve().parent.parent / "tools" / "generate_stubs.py"


def test_the_stub_fits_the_table() -> None:
    if not (TOOL.parent.parent / "kiln" / "translator.pyi").exists():
        pytest.skip("runs in the source tree only")
    result = subprocess.run([sys.executable, str(TOOL), "--check"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_base_class_has_no_fops() -> None:
    for name, *_ in kiln.FOPS:
        assert not hasattr(kiln.Translator, name)
