"""Translators that change nothing for their users behave like no translator, whatever is asked."""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from kiln import FOPS, PASS, Context, Translator, request
from kiln.testing import Stack, python_layer
from kiln.testing.strategies import KINDS, Operation, assert_alike, operations, play

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
OFTEN = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SELDOM = settings(OFTEN, max_examples=40)

Halves = dict[str, Callable[..., Any]]


def named(fop: str) -> Any:
    return getattr(request, "".join(word.capitalize() for word in fop.split("_")))


def plain(fop: str) -> Halves:
    def handle(self: Translator, ctx: Context, *arguments: Any) -> Any:
        return PASS

    def reply(self: Translator, ctx: Context, reply: Any) -> None:
        return None

    return {fop: handle, f"{fop}_reply": reply}


def made_anew(fop: str) -> Halves:
    """Takes requests and replies to pieces, and makes them again."""

    def handle(self: Translator, ctx: Context, *arguments: Any) -> Any:
        return named(fop)(*arguments)

    def reply(self: Translator, ctx: Context, reply: Any) -> Any:
        return type(reply)(*(getattr(reply, field) for field in type(reply).__match_args__))

    return {fop: handle, f"{fop}_reply": reply}


def batches(fop: str) -> Halves:
    def handle(self: Translator, requests: Sequence[Any]) -> Sequence[Any]:
        return [asked if number % 2 else None for number, asked in enumerate(requests)]

    def reply(self: Translator, requests: Sequence[Any], replies: Sequence[Any]) -> Sequence[Any]:
        return replies

    return {f"{fop}_batch": handle, f"{fop}_reply_batch": reply}


def generators(fop: str) -> Halves:
    def handle(self: Translator, ctx: Context, *arguments: Any) -> Generator[Any, Any, Any]:
        answer = yield named(fop)(*arguments)
        return answer

    return {fop: handle}


def all_fops(halves: Callable[[str], Halves]) -> type[Translator]:
    methods: Halves = {}
    for row in FOPS:
        methods.update(halves(row[0]))
    return type("All", (Translator,), methods)


@pytest.mark.parametrize("halves", [plain, made_anew, batches, generators])
@OFTEN
@given(sequence=operations())
def test_what_passes_changes_nothing(halves: Callable[[str], Halves], sequence: list[Operation]) -> None:
    with Stack() as bare, Stack(all_fops(halves)) as stack:
        assert_alike(bare, stack, sequence)
        assert stack.stats()["faults"] == {}


LIKE_NONE: list[tuple[str, str, dict[str, str]]] = [
    ("hello", ".", {}),
    ("trace", ".", {}),
    ("negative", ".", {"limit": "3"}),
    ("negative_batch", ".", {"limit": "3"}),
    ("per_user_counter", ".", {}),
    ("rate_limiter", ".", {"burst": "1000000"}),
    ("readonly_window", ".", {}),
    ("xor_at_rest", ".", {"key": "a key"}),
    ("aes_at_rest", ".", {"key-file": "KEY"}),
    ("helloworld", "glupy", {}),
    ("debug-trace", "glupy", {}),
    ("negative_correct", "glupy", {}),
    ("negative_correct", "article", {}),
]


def search(folder: str) -> dict[str, str]:
    return {"search-path": f"{EXAMPLES / folder}:{EXAMPLES}"}


@pytest.fixture(scope="session")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("key") / "key"
    path.write_text("00112233445566778899aabbccddeeff\n", encoding="ascii")
    return str(path)


@pytest.mark.parametrize(("module", "folder", "options"), LIKE_NONE, ids=lambda value: str(value))
@SELDOM
@given(sequence=operations())
def test_examples_change_nothing(
    module: str, folder: str, options: dict[str, str], key_file: str, sequence: list[Operation]
) -> None:
    if module == "aes_at_rest":
        pytest.importorskip("cryptography")
    given_options = {name: key_file if value == "KEY" else value for name, value in options.items()}
    with Stack() as bare, Stack(module, options=given_options, layer_options=search(folder)) as stack:
        assert_alike(bare, stack, sequence)
        assert stack.stats()["faults"] == {}


def test_every_example_is_tried() -> None:
    modules = {(path.stem, str(path.parent.relative_to(EXAMPLES))) for path in EXAMPLES.rglob("*.py")}
    tried = {(module, folder) for module, folder, _ in LIKE_NONE}
    demonstrations = {("negative", "glupy"), ("negative", "article")}
    assert modules == tried | demonstrations | {("at_rest", ".")}


@pytest.mark.parametrize("folder", ["glupy", "article"])
def test_the_demonstrations_hide_what_came_otherwise(folder: str) -> None:
    with Stack("negative", layer_options=search(folder)) as stack:
        assert not stack.exists("/made-otherwise")
        stack.mkdir("/made-otherwise")
        assert not stack.exists("/made-otherwise"), "it is not a demonstration of the mistake any more"
        assert "made-otherwise" in stack.listdir()
        assert not stack.exists("/created")
        stack.write_file("/created", b"")
        assert stack.exists("/created")


def test_data_is_not_on_the_disk_as_it_is() -> None:
    spied: list[bytes] = []

    class Spy(Translator):
        def writev(self, ctx: Context, fd: Any, data: memoryview, offset: int, flags: int, xdata: Any) -> None:
            spied.append(bytes(data))

    with Stack(
        "xor_at_rest", options={"key": "k"}, layer_options=search("."), below=[python_layer(Spy)]
    ) as stack:
        stack.write_file("/a", b"plain text")
        assert stack.read_file("/a") == b"plain text"
    assert len(spied) == 1 and len(spied[0]) == 10 and spied[0] != b"plain text"


def test_the_window_closes_a_stack() -> None:
    options = {"from": "00:00", "until": "23:59"}
    with Stack("readonly_window", options=options, layer_options=search(".")) as stack:
        answers = {kind: play(stack, Operation(kind, "/a", "/b")) for kind in KINDS}
        refused = {kind for kind, answer in answers.items() if answer == ("failed", errno.EROFS)}
        # For one minute a day it is open.
        assert refused in ({"create", "mkdir", "symlink"}, set())


@SELDOM
@given(sequence=operations(kinds=["exists", "create", "mkdir", "rename", "unlink"]))
def test_a_failing_storage_fails_alike(sequence: list[Operation]) -> None:
    with Stack() as bare, Stack(all_fops(plain)) as stack:
        for one in (bare, stack):
            for fop in ("create", "rename"):
                one.fail(fop, errno.ENOSPC)
                one.fail(fop, errno.EIO, after=True)
        assert_alike(bare, stack, sequence)


def test_play_tells_failures() -> None:
    with Stack() as stack:
        assert play(stack, Operation("unlink", "/none")) == ("failed", errno.ENOENT)
        stack.fail("lookup", errno.EACCES)
        assert play(stack, Operation("exists", "/none")) == ("failed", errno.EACCES)
