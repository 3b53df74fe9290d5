"""Recordings: what kiln.record writes, kiln.replay plays."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kiln import Context, Dict, Failure, Fd, Loc, Translator, request
from kiln._codec import Decoder, Encoder
from kiln.replay import RecordingError, replay, run
from kiln.testing import Stack, python_layer
from kiln.testing.strategies import Operation, operations, play

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SEARCH = str(EXAMPLES)


def record(path: Path, sequence: list[Operation]) -> int:
    """How many operations were recorded."""
    with Stack("kiln.record", options={"file": str(path)}) as stack:
        for operation in sequence:
            play(stack, operation)
        assert stack.stats()["faults"] == {}
        return stack.counter("recorded")


WORK = [
    Operation("exists", "/a"),
    Operation("exists", "/a"),
    Operation("create", "/a"),
    Operation("exists", "/a"),
    Operation("write", "/a", data=b"\x00\xff binary \n", offset=3),
    Operation("read", "/a", data=bytes(30)),
    Operation("symlink", "/s", "/a"),
    Operation("mkdir", "/d"),
    Operation("rename", "/a", "/d/b"),
    Operation("listdir", "/d"),
    Operation("exists", "/a"),
    Operation("unlink", "/s"),
]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "a trace.jsonl"
    assert record(path, WORK) > len(WORK)
    return path


def test_a_recording_is_lines_of_json(trace: Path) -> None:
    lines = [json.loads(line) for line in trace.read_text(encoding="utf-8").splitlines()]
    assert all(set(line) == {"at", "caller", "request", "answer"} for line in lines)
    assert {"Lookup", "Create", "Writev", "Readv", "Rename"} <= {next(iter(line["request"])) for line in lines}
    times = [line["at"] for line in lines]
    assert times == sorted(times)


def test_one_that_passes_answers_as_recorded(trace: Path) -> None:
    report = replay("hello", trace, search_path=SEARCH)
    assert report.operations == report.same > 0
    assert (report.changed, report.spared, report.faults) == ([], 0, 0)
    assert not report.added


def test_a_cache_spares_operations(trace: Path) -> None:
    for module in ("negative", "negative_batch"):
        report = replay(module, trace, search_path=SEARCH, options={"limit": "100"})
        assert report.changed == []
        assert report.spared > 0, str(report)


@pytest.mark.parametrize("folder", ["glupy", "article"])
def test_old_translators_are_played(trace: Path, folder: str) -> None:
    report = replay("negative_correct", trace, search_path=f"{EXAMPLES / folder}")
    assert report.changed == [] and report.spared > 0


def test_files_are_modules(trace: Path, tmp_path: Path) -> None:
    code = "import kiln, errno\nclass A(kiln.Translator):\n    def unlink(self, ctx, loc, flags, xdata): raise {}\n"
    for name, raised, faults in (("one", "OSError(errno.EPERM, 'no')", 0), ("two", "KeyError('x')", 1)):
        (tmp_path / f"{name}.py").write_text(code.format(raised))
        text, times = run(str(tmp_path / f"{name}.py"), trace, class_name="A", search_path="", options={})
        assert times == faults
        assert "1 otherwise, 1 not passed on" in text
        assert ("fault, 1 times: KeyError" in text) is (faults == 1)
        assert "was reply.Unlink" in text and "is  Failure" in text


def test_what_it_does_on_its_own_shows(trace: Path, tmp_path: Path) -> None:
    (tmp_path / "ahead.py").write_text(
        "import kiln\nfrom kiln import Loc, request\nclass Ahead(kiln.Translator):\n"
        "    def readv(self, ctx, *arguments):\n"
        "        for name in (b'a', b'never'):\n"
        "            try:\n"
        "                yield request.Lookup(Loc.entry(kiln.ROOT, name))\n"
        "            except OSError:\n"
        "                pass\n"
        "        return (yield request.Readv(*arguments))\n"
    )
    report = replay("ahead", trace, search_path=str(tmp_path))
    assert report.added == {"Lookup": 2}
    assert (report.changed, report.spared, report.faults) == ([], 0, 0)
    assert "2 × Lookup of the translator's own" in str(report)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "holds no operations"),
        ("no json\n", "line 1"),
        ("[]\n", "line 1"),
        ("{}\n", "line 1: KeyError"),
        ('{"request": {"Lookup": []}, "answer": {"Failure": [2]}, "caller": {}}\n', "line 1"),
        ('{"request": {"Nonsense": []}, "answer": {"Failure": [2]}, "caller": {}}\n', "line 1"),
        ("[" * 100_000 + "\n", "line 1"),
        ("\x00\n", "line 1"),
    ],
)
def test_what_is_no_recording(tmp_path: Path, text: str, wanted: str) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(RecordingError, match=wanted):
        replay("hello", path, search_path=SEARCH)
    with pytest.raises(RecordingError, match="No such file"):
        replay("hello", tmp_path / "none", search_path=SEARCH)


def test_a_cut_line_is_named(trace: Path) -> None:
    text = trace.read_bytes()
    trace.write_bytes(text[:-10])
    lines = text.count(b"\n")
    with pytest.raises(RecordingError, match=f"line {lines}: "):
        replay("hello", trace, search_path=SEARCH)


def test_a_translator_that_does_not_load(trace: Path) -> None:
    with pytest.raises(ValueError, match="no module `nonsense`"):
        replay("nonsense", trace)
    with pytest.raises(ValueError, match="limit"):
        replay("negative", trace, search_path=SEARCH, options={"limit": "0"})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=operations())
def test_whatever_is_recorded_can_be_played(tmp_path: Path, sequence: list[Operation]) -> None:
    path = tmp_path / "trace.jsonl"
    if record(path, sequence) == 0:
        return
    report = replay("hello", path, search_path=SEARCH)
    assert report.same == report.operations and report.spared == 0


def test_failures_are_recorded_with_what_they_carry(tmp_path: Path) -> None:
    carried: dict[bytes, bytes | float] = {b"why": b"\xff", b"how": 2.5}

    class Refuses(Translator):
        def stat(self, ctx: Context, loc: Loc, xdata: Dict) -> Failure:
            return Failure(errno.EPERM, Dict(carried))

    path = tmp_path / "trace.jsonl"
    with Stack("kiln.record", options={"file": str(path)}, below=[python_layer(Refuses)]) as stack:
        (answer,) = stack.gather([request.Stat(stack.loc("/"))])
        assert dict(answer.xdata) == carried
    assert replay("hello", path, search_path=SEARCH).same == 1


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = st.one_of(st.binary(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXTS, st.uuids())


@given(st.dictionaries(st.binary(min_size=1).filter(lambda key: b"\0" not in key), VALUES), st.binary())
def test_values_survive(xdata: dict[bytes, Any], data: bytes) -> None:
    asked = request.Writev(Fd.file(bytes(range(16)), os.O_RDWR), data, 2**40, 0, xdata)
    text = json.dumps(Encoder().message(asked))
    again = Decoder().request(json.loads(text))
    assert isinstance(again, request.Writev)
    assert (bytes(again.data), again.offset, again.xdata) == (data, 2**40, asked.xdata)
    assert (again.fd.gfid, again.fd.flags) == (bytes(range(16)), os.O_RDWR)
