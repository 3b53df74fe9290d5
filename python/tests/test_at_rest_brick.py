"""Encryption at rest over a brick in memory: every answer is the one that a brick without it gives."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest

from kiln import NULL, ROOT, Dict, Failure, Fd, Loc, SeekWhat, _native, reply, request

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
GFID = bytes(range(16))
POSIX = "volume posix\n type storage/posix\n option directory /brick\nend-volume\n"


def brick(module: str | None, options: str = "") -> Any:
    text = POSIX
    if module is not None:
        text += f"volume rest\n type features/glupy\n option module-name {module}\n option search-path {EXAMPLES}\n"
        text += f"{options} subvolumes posix\nend-volume\n"
    return _native.Stack(text)


class File:
    """One file of a brick, open twice: for reading and writing, and for appending."""

    def __init__(self, stack: Any) -> None:
        self.stack = stack
        self.fd = Fd.file(NULL, os.O_RDWR)
        place, identity = Loc.entry(ROOT, b"file"), Dict({"gfid-req": GFID})
        self.ask(request.Create(place, os.O_RDWR | os.O_CREAT, 0o644, 0, self.fd, identity))
        self.appending = Fd.file(GFID, os.O_WRONLY | os.O_APPEND)
        self.ask(request.Open(Loc.object(GFID), os.O_WRONLY | os.O_APPEND, self.appending))

    def ask(self, asked: request.Request) -> Any:
        (answer,) = self.stack.call([asked])
        return answer


def told(answer: Any) -> Any:
    """What a client can see of an answer, times apart."""
    if isinstance(answer, Failure):
        return answer.errno
    if isinstance(answer, reply.Readv):
        return bytes(answer.data), answer.eof, answer.iatt.size
    if isinstance(answer, reply.Writev):
        return answer.count, answer.pre.size, answer.post.size
    if isinstance(answer, reply.Seek):
        return answer.offset
    if isinstance(answer, reply.Rchecksum):
        return answer.weak, bytes(answer.strong)
    if isinstance(answer, reply.Fstat):
        return answer.iatt.size
    return getattr(answer, "pre").size, getattr(answer, "post").size


def random_request(chance: random.Random, file: File) -> request.Request:
    offset, size = chance.randrange(20_000), chance.randrange(1, 9_000)
    data = bytes(chance.choice((0, 0, 65, 255, chance.randrange(256))) for _ in range(chance.randrange(1, 300)))
    kind = chance.randrange(12)
    if kind < 3:
        return request.Writev(file.fd, data * chance.choice((1, 1, 20)), offset, 0)
    if kind < 6:
        return request.Readv(file.fd, size, offset, 0)
    return [
        request.Writev(file.appending, data, 0, 0),
        request.Ftruncate(file.fd, offset),
        request.Truncate(Loc.object(GFID), offset),
        request.Zerofill(file.fd, offset, size),
        request.Discard(file.fd, offset, size),
        request.Fallocate(file.fd, chance.randrange(2), offset, size),
        request.Seek(file.fd, offset, chance.choice((SeekWhat.DATA, SeekWhat.HOLE))),
        request.Rchecksum(file.fd, offset, size),
        request.Fstat(file.fd),
    ][chance.randrange(9)]


@pytest.mark.parametrize("module", ["xor_at_rest", "aes_at_rest"])
@pytest.mark.parametrize("seed", range(4))
def test_every_answer_is_as_without(module: str, seed: int, tmp_path: Path) -> None:
    options = " option option.key a-key\n"
    if module == "aes_at_rest":
        pytest.importorskip("cryptography")
        (tmp_path / "key").write_text("00112233445566778899aabbccddeeff\n")
        options = f" option option.key-file {tmp_path / 'key'}\n"
    plain, hidden = File(brick(None)), File(brick(module, options))
    one, two = random.Random(seed), random.Random(seed)
    for step in range(150):
        asked = random_request(one, plain)
        want, got = plain.ask(asked), hidden.ask(random_request(two, hidden))
        assert told(got) == told(want), (step, asked)


def test_copies_within_the_brick_are_refused() -> None:
    stack = brick("xor_at_rest", " option option.key a-key\n")
    file = File(stack)
    secret = b"a text that nobody may see"
    assert file.ask(request.Writev(file.fd, secret, 4000, 0)).count == len(secret)
    assert bytes(file.ask(request.Readv(file.fd, 100, 4000, 0)).data) == secret
    copied = file.ask(request.CopyFileRange(file.fd, 4000, file.fd, 9000, 10, 0))
    assert copied.errno == errno.EOPNOTSUPP


def test_appends_of_many_at_once_all_arrive() -> None:
    file = File(brick("xor_at_rest", " option option.key a-key\n"))
    texts = [b"%04d," % number for number in range(30)]
    answers = file.stack.call([request.Writev(file.appending, text, 0, 0) for text in texts])
    assert [answer.count for answer in answers] == [5] * 30
    data = bytes(file.ask(request.Readv(file.fd, 1000, 0, 0)).data)
    assert sorted(data.split(b",")[:-1]) == [text[:-1] for text in texts]
