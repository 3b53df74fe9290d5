"""The guide's code runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

import kiln._native

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+)\.py\n")

if not GUIDE.exists():
    pytest.skip("the guide does not come with the wheel", allow_module_level=True)
if not hasattr(kiln._native, "Stack"):
    pytest.skip("the native module has no harness", allow_module_level=True)


def chapters() -> dict[str, list[tuple[int, str]]]:
    """The blocks of each chapter that has some, with the lines where they begin."""
    text = GUIDE.read_text(encoding="utf-8")
    found: dict[str, list[tuple[int, str]]] = {}
    for chapter in re.finditer(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        blocks = [
            (text.count("\n", 0, chapter.start(2) + block.start(1)), block.group(1))
            for block in BLOCK.finditer(chapter.group(2))
        ]
        if blocks:
            found[chapter.group(1)] = blocks
    return found


def test_the_guide_has_code() -> None:
    assert {"Hello", "Many at once", "Testing", "Code for glupy"} <= set(chapters())


@pytest.mark.parametrize("chapter", chapters())
def test_the_guide(chapter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a chapter share their names; those that begin with a file's name become that file."""
    monkeypatch.syspath_prepend(str(tmp_path))
    scope: dict[str, Any] = {"__name__": "guide"}
    for line, code in chapters()[chapter]:
        file = FILE.match(code)
        if file is not None:
            (tmp_path / f"{file.group(1)}.py").write_text(code, encoding="utf-8")
            monkeypatch.delitem(sys.modules, file.group(1), raising=False)
            continue
        # Empty lines before it: a traceback then has the guide's own line numbers.
        exec(compile("\n" * line + code, str(GUIDE), "exec"), scope)
    for name, test in list(scope.items()):
        if name.startswith("test_"):
            test()
