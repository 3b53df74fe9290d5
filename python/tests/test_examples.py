"""The examples, handler by handler."""

from __future__ import annotations

import calendar
import errno
import hashlib
import os
import random
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from kiln import FOPS, LATER, PASS, ROOT, Dict, Failure, Fd, FopError, Iatt, Loc, reply, request

GFID = bytes(range(16))
FILE = Iatt(gfid=GFID, type=1, size=100)


@pytest.fixture(params=["xor_at_rest", "aes_at_rest"])
def at_rest(request: Any, load: Callable[..., Any], tmp_path: Path) -> Any:
    if request.param == "xor_at_rest":
        return load("xor_at_rest", key="some key")
    pytest.importorskip("cryptography")
    (tmp_path / "key").write_text("000102030405060708090a0b0c0d0e0f\n")
    return load("aes_at_rest", key_file=str(tmp_path / "key"))


def drive(generator: Any, answer: Callable[[Any], Any]) -> Any:
    """Runs a generator handler over a child."""
    try:
        wound = next(generator)
        while True:
            answered = answer(wound)
            wound = generator.throw(FopError(answered)) if isinstance(answered, Failure) else generator.send(answered)
    except StopIteration as end:
        return end.value


class Disk:
    """A file as the storage has it."""

    def __init__(self, loaded: Any, context: Any) -> None:
        self.handlers, self.context = loaded.handlers, context
        self.data = bytearray()

    def child(self, wound: Any) -> Any:
        if isinstance(wound, request.Fstat):
            return reply.Fstat(FILE.replace(size=len(self.data)), Dict())
        if isinstance(wound, request.Readv):
            data = bytes(self.data[wound.offset : wound.offset + wound.size])
            return reply.Readv(data, False, FILE, Dict())
        if isinstance(wound, request.Rchecksum):
            data = bytes(self.data[wound.offset : wound.offset + wound.len])
            return reply.Rchecksum(zlib.adler32(data, 0), hashlib.sha256(data).digest())
        assert isinstance(wound, request.Writev)
        end = wound.offset + len(wound.data)
        self.data.extend(bytes(max(0, end - len(self.data))))
        self.data[wound.offset : end] = wound.data
        return reply.Writev(len(wound.data), FILE, FILE, Dict())

    def write(self, data: bytes, offset: int, flags: int = os.O_RDWR) -> None:
        ctx = self.context("writev")
        outcome = drive(
            self.handlers["writev"].fop(ctx, Fd.file(GFID, flags), memoryview(data), offset, 0, Dict()), self.child
        )
        if isinstance(outcome, request.Writev):
            outcome = self.child(outcome)
        assert outcome.count == len(data)

    def read(self, size: int, offset: int) -> bytes:
        ctx, fd = self.context("readv"), Fd.file(GFID, os.O_RDWR)
        assert self.handlers["readv"].fop(ctx, fd, size, offset, 0, Dict()) is None
        answer = self.child(request.Readv(fd, size, offset, 0))
        return bytes(self.handlers["readv"].reply(ctx, answer).data)


def test_at_rest_reads_what_was_written_wherever(at_rest: Any, context: Any) -> None:
    disk, plain, chance = Disk(at_rest, context), bytearray(), random.Random(1)
    for _ in range(200):
        choice, offset = chance.random(), chance.randrange(600)
        data = bytes(chance.choice((0, 1, 255, 115, chance.randrange(256))) for _ in range(chance.randrange(1, 90)))
        if choice < 0.2:
            disk.write(data, 0, os.O_WRONLY | os.O_APPEND)
            plain += data
        elif choice < 0.7:
            disk.write(data, offset)
            plain.extend(bytes(max(0, offset + len(data) - len(plain))))
            plain[offset : offset + len(data)] = data
        elif choice < 0.8:
            # The storage makes and drops zeros on its own: truncate, discard, zerofill.
            for file in (disk.data, plain):
                del file[offset:]
                file.extend(bytes(20))
        assert len(disk.data) == len(plain)
        assert disk.read(77, offset) == plain[offset : offset + 77]
    assert disk.data != plain
    secret = b"a text that nobody may see"
    disk.write(secret, 0)
    assert secret not in disk.data


def test_at_rest_refuses_what_it_cannot_keep_true(at_rest: Any, context: Any) -> None:
    fd = Fd.file(GFID, os.O_RDWR)
    copy = at_rest.handlers["copy_file_range"].fop(context(), fd, 0, fd, 0, 10, 0, Dict())
    assert copy.errno == errno.EOPNOTSUPP
    put = at_rest.handlers["put"].fop
    place = Loc.entry(ROOT, b"a")
    assert put(context(), place, 0, 0, 0, memoryview(b"data"), 0, Dict(), Dict()).errno == errno.EOPNOTSUPP
    changed = put(context(), place, 0, 0, 0, memoryview(b"data"), 0, Dict(), Dict({"gfid-req": UUID(bytes=GFID)}))
    assert len(changed.data) == 4 and bytes(changed.data) != b"data"
    opened = at_rest.handlers["open"].fop(context(), Loc.object(GFID), os.O_WRONLY | os.O_APPEND, fd, Dict())
    assert opened.flags == os.O_WRONLY
    assert at_rest.handlers["open"].fop(context(), Loc.object(GFID), os.O_RDWR, fd, Dict()) is None
    asked = at_rest.handlers["lookup"].fop(context(), place, Dict({"glusterfs.content": 4096, "user.a": 0}))
    assert list(asked.xdata) == [b"user.a"]


def test_checksums_are_of_the_users_data(at_rest: Any, context: Any) -> None:
    disk = Disk(at_rest, context)
    disk.write(b"some data" * 10, 3)
    generator = at_rest.handlers["rchecksum"].fop(context(), Fd.file(GFID, os.O_RDONLY), 3, 90, Dict())
    sums = drive(generator, disk.child)
    assert sums.weak == zlib.adler32(b"some data" * 10, 0)
    assert bytes(sums.strong) == hashlib.sha256(b"some data" * 10).digest()


def test_appends_wait_for_each_other(at_rest: Any, context: Any) -> None:
    disk = Disk(at_rest, context)
    append = at_rest.handlers["writev"].fop
    fd = Fd.file(GFID, os.O_WRONLY | os.O_APPEND)
    one, two = (append(context(), fd, memoryview(text), 0, 0, Dict()) for text in (b"first", b"second"))
    wound = one.send(disk.child(next(one)))
    assert isinstance(wound, request.Writev)
    asked = next(two)
    for _ in range(3):
        assert isinstance(asked, request.Fstat)
        asked = two.send(disk.child(asked))
    with pytest.raises(StopIteration):
        one.send(disk.child(wound))
    last = two.send(disk.child(asked))
    assert isinstance(last, request.Fstat)
    drive_on = two.send(disk.child(last))
    with pytest.raises(StopIteration):
        two.send(disk.child(drive_on))
    assert disk.read(11, 0) == b"firstsecond"


def at(hour: int, minute: int) -> Callable[[], float]:
    return lambda: float(calendar.timegm((2026, 11, 23, hour, minute, 0)))


def test_the_window_closes_and_opens(load: Callable[..., Any], context: Any) -> None:
    loaded = load("readonly_window", **{"from": "22:00", "until": "06:00", "zone": "utc"})
    window = loaded.instance
    place = Loc.entry(ROOT, b"a")
    changes = {row[0] for row in FOPS if row[5] == "Change"}
    assert set(loaded.handlers) == changes | {"open"}
    for hour, closed in ((21, False), (22, True), (23, True), (3, True), (6, False), (12, False)):
        window.clock = at(hour, 30 if hour != 22 else 0)
        outcome = loaded.handlers["mkdir"].fop(context(), place, 0, 0, Dict())
        assert (outcome is not None and outcome.errno == errno.EROFS) is closed, hour
    window.clock = at(23, 0)
    fd = Fd.file(GFID, 0)
    assert loaded.handlers["open"].fop(context(), place, os.O_RDONLY, fd, Dict()) is None
    assert loaded.handlers["open"].fop(context(), place, os.O_WRONLY, fd, Dict()).errno == errno.EROFS
    assert loaded.handlers["mkdir"].fop(context(is_internal=True), place, 0, 0, Dict()) is None
    loaded.reconfigure({"from": "01:00", "until": "02:00", "zone": "utc", "internal": "off"})
    assert loaded.handlers["mkdir"].fop(context(), place, 0, 0, Dict()) is None
    assert loaded.statedump() == {"closed": False}
    with pytest.raises(ValueError, match="not a time of day"):
        loaded.reconfigure({"from": "25:00"})


def test_users_are_counted(load: Callable[..., Any], context: Any) -> None:
    loaded = load("per_user_counter", users="2")
    for uid in (1000, 1000, 7, 8, 9):
        loaded.handlers["stat"].fop(context("stat", uid=uid), Loc.object(GFID), Dict())
    loaded.handlers["readv"].reply(context(uid=7), reply.Readv(b"12345", False, FILE, Dict()))
    loaded.handlers["writev"].reply(context(uid=8), reply.Writev(3, FILE, FILE, Dict()))
    loaded.handlers["writev"].reply(context(uid=8), Failure(5))
    assert loaded.statedump() == {
        "users": {"7": {"stat": 1, "bytes-read": 5}, "1000": {"stat": 2}},
        "others": {"stat": 2, "bytes-written": 3},
    }


def test_the_limiter_delays_and_refuses(load: Callable[..., Any], context: Any, host: Any) -> None:
    loaded = load("rate_limiter", rate="100", burst="2", longest="25ms")
    lookup = loaded.handlers["lookup"].fop
    contexts = [context() for _ in range(6)]
    outcomes = [lookup(ctx, Loc.entry(ROOT, b"a"), Dict()) for ctx in contexts]
    assert outcomes[:2] == [PASS, PASS]
    assert LATER in outcomes
    assert lookup(context(client=2), Loc.entry(ROOT, b"a"), Dict()) is PASS
    delayed = [ctx for ctx, outcome in zip(contexts, outcomes, strict=True) if outcome is LATER]
    deadline = time.monotonic() + 10
    while not all(ctx.finished for ctx in delayed) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert all(ctx.finished == [PASS] for ctx in delayed)
    loaded.fini()


def test_the_limits_arithmetic(load: Callable[..., Any]) -> None:
    loaded = load("rate_limiter", rate="10", burst="3", longest="1050ms")
    delay = loaded.instance.delay
    waits = [delay(1, 50.0) for _ in range(15)]
    assert waits[:3] == pytest.approx([0, 0, 0])
    assert waits[3:13] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert waits[13:] == [None, None]
    assert delay(2, 50.0) == 0
    assert delay(1, 60.0) == 0
    loaded.fini()


def test_the_trace_shows_requests_and_answers(load: Callable[..., Any], context: Any, host: Any) -> None:
    loaded = load("trace")
    assert len(loaded.handlers) == len(FOPS)
    ctx = context("writev", uid=12)
    loaded.handlers["writev"].fop(ctx, Fd.file(GFID, 0), memoryview(b"12345"), 7, 0, Dict())
    loaded.handlers["writev"].reply(ctx, Failure(28))
    shown = "\n".join(text for _, text in host.logged)
    assert "data=<5 bytes>, offset=7" in shown and "uid 12" in shown and "failed: errno 28" in shown
    loaded.reconfigure({"fops": "lookup, stat"})
    before = len(host.logged)
    loaded.handlers["flush"].fop(ctx, Fd.file(GFID, 0), Dict())
    assert len(host.logged) == before
    with pytest.raises(ValueError, match="no such fops: nonsense"):
        loaded.reconfigure({"fops": "nonsense"})


def test_hello_greets(load: Callable[..., Any], context: Any, host: Any, capfd: Any) -> None:
    loaded = load("hello")
    ctx = context()
    loaded.handlers["lookup"].fop(ctx, Loc.entry(ROOT, b"a"), Dict())
    loaded.handlers["lookup"].reply(ctx, Failure(2))
    loaded.handlers["lookup"].reply(ctx, reply.Lookup(FILE, Iatt(), Dict()))
    assert [text for _, text in host.logged] == [
        "hello, client 1 is looking for b'a'",
        "it is not there: errno 2",
        "there it is, 100 bytes",
    ]
    world = load("helloworld", "glupy")
    world.handlers["lookup"].fop(ctx, Loc.entry(ROOT, b"a"), Dict())
    world.handlers["lookup"].reply(ctx, Failure(2))
    assert capfd.readouterr().err == "hello from lookup_fop\nhello from lookup_cbk\n"
