"""kiln.testing: what it promises, and what the engine promises to translators, on a stack in memory."""

from __future__ import annotations

import ctypes
import errno
import gc
import logging
import os
import stat
import threading
import uuid
from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from kiln import LATER, PASS, ROOT, Context, Dict, Failure, Fd, FopError, Iatt, Loc, Option, Options, Translator, reply, request
from kiln.testing import Stack, python_layer

# The stack itself


def test_a_tree_by_paths() -> None:
    with Stack() as stack:
        stack.mkdir("/dir", 0o750)
        stack.mkdir("/dir/sub")
        stack.write_file("/dir/file", b"some text")
        stack.symlink("file", "/dir/link")
        stack.link("/dir/file", "/dir/sub/second")
        assert stack.listdir("/dir") == ["file", "link", "sub"]
        assert stat.S_IMODE(stack.lookup("/dir").prot) == 0o750
        assert stack.lookup("/dir/file").nlink == 2
        assert stack.lookup("/dir/sub/second").gfid == stack.lookup("/dir/file").gfid
        stack.rename("/dir/file", "/moved")
        stack.truncate("/moved", 4)
        assert stack.read_file("/dir/sub/second") == b"some"
        assert not stack.exists("/dir/file") and not stack.exists("/dir/none")
        for path, wanted in (("/dir/sub", errno.ENOTEMPTY), ("/moved", errno.ENOTDIR), ("/none", errno.ENOENT)):
            with pytest.raises(FopError) as caught:
                stack.rmdir(path)
            assert caught.value.errno == wanted and isinstance(caught.value, OSError)
        stack.unlink("/dir/sub/second")
        stack.unlink("/dir/link")
        stack.rmdir("/dir/sub")
        stack.rmdir("/dir")
        assert stack.listdir() == ["moved"]


def test_large_files_and_directories() -> None:
    with Stack() as stack:
        data = bytes(range(256)) * 4096
        stack.write_file("/large", data)
        assert stack.read_file("/large") == data
        stack.mkdir("/many")
        for number in range(700):
            stack.release(stack.create(f"/many/a-rather-long-name-of-a-file-{number:04}"))
        assert len(stack.listdir("/many")) == 700


def test_a_closed_stack_says_so() -> None:
    stack = Stack()
    stack.close()
    stack.close()
    with pytest.raises(RuntimeError, match="closed"):
        stack.exists("/a")


def test_what_cannot_be_built() -> None:
    class Broken(Translator):
        def init(self) -> None:
            raise KeyError("the table")

    with pytest.raises(ValueError, match="KeyError: 'the table'"):
        Stack(Broken)
    with pytest.raises(ValueError, match="no module `no_such_module`"):
        Stack("no_such_module")
    with pytest.raises(ValueError, match="cores"):
        Stack(cores=0)
    with pytest.raises(ValueError, match="performance/none"):
        Stack(above=[("performance/none", {})])


def test_options_are_taken_as_they_are() -> None:
    class Told(Translator):
        options = Options(Option("text", str))

        def statedump(self) -> Mapping[str, object]:
            return {"text": self.options["text"]}

    for text in ("two words", 'a "quoted" \\ word', "type", "a`b", "#"):
        with Stack(Told, options={"text": text}) as stack:
            assert stack.dump()["state"] == {"text": text}


class Orders(Translator):
    """Notes in which order requests come."""

    def init(self) -> None:
        self.came: list[str] = []

    def lookup(self, ctx: Context, loc: Loc, xdata: Dict) -> None:
        self.came.append(f"{loc.name!r}")

    def lookup_reply(self, ctx: Context, reply: reply.Lookup | Failure) -> None:
        self.came.append("reply")

    def statedump(self) -> Mapping[str, object]:
        return {"came": self.came}


def order(seed: int, cores: int) -> list[str]:
    with Stack(Orders, seed=seed, cores=cores) as stack:
        names = [Loc.entry(ROOT, b"%d" % number) for number in range(12)]
        answers = stack.gather([request.Lookup(name) for name in names])
        assert [answer.errno for answer in answers] == [errno.ENOENT] * 12
        came: list[str] = stack.dump()["state"]["came"]
        assert sorted(came) == sorted([f"{name.name!r}" for name in names] + ["reply"] * 12)
        return came


@pytest.mark.parametrize("cores", [1, 4])
def test_a_seed_decides_the_order(cores: int) -> None:
    orders = [order(seed, cores) for seed in range(6)]
    assert orders == [order(seed, cores) for seed in range(6)]
    if cores > 1:
        assert len({tuple(came) for came in orders}) > 3


def test_answers_belong_to_their_requests() -> None:
    class Names(Translator):
        def lookup(self, ctx: Context, loc: Loc, xdata: Dict) -> Failure:
            assert loc.name is not None
            return Failure(int(loc.name))

    with Stack(Names, seed=3, cores=3) as stack:
        numbers = [n % 50 + 1 for n in range(200)]
        answers = stack.gather([request.Lookup(Loc.entry(ROOT, b"%d" % number)) for number in numbers])
    assert [answer.errno for answer in answers] == numbers


def test_errors_before_and_after() -> None:
    with Stack() as stack:
        stack.fail("mkdir", errno.ENOSPC)
        with pytest.raises(FopError, match="28|No space"):
            stack.mkdir("/a")
        assert not stack.exists("/a")
        stack.fail("mkdir", errno.EIO, after=True, times=2)
        for name in ("/b", "/c"):
            with pytest.raises(FopError):
                stack.mkdir(name)
            assert stack.exists(name)
        stack.mkdir("/d")
        with pytest.raises(ValueError, match="no fop `mkdirr`"):
            stack.fail("mkdirr", 5)
        with pytest.raises(ValueError, match="errno"):
            stack.fail("mkdir", -5)


def test_delays_let_others_overtake() -> None:
    with Stack(Orders) as stack:
        stack.delay("lookup", 30.0)
        slow, quick = stack.gather([request.Lookup(Loc.entry(ROOT, b"1")), request.Lookup(Loc.entry(ROOT, b"2"))])
        assert slow.errno == quick.errno == errno.ENOENT
        stack.sleep(3600)


# Hooks, options and figures


class Told(Translator):
    """Notes what hooks are told."""

    heard: ClassVar[list[object]]
    options = Options(Option("limit", int, default=7, minimum=1, reconfigurable=True), Option("fixed", str, default="x"))

    def init(self) -> None:
        type(self).heard = []

    def reconfigure(self, options: Mapping[str, Any]) -> None:
        if options["limit"] == 13:
            raise ValueError("13 is bad luck")
        self.heard.append(("limit", self.options["limit"], options["limit"]))

    def notify(self, event: str, detail: object) -> None:
        self.heard.append(event)

    def forget(self, gfid: bytes) -> None:
        self.heard.append(gfid)

    def release(self, fd: Fd) -> None:
        self.heard.append(fd)

    def releasedir(self, fd: Fd) -> None:
        self.heard.append(("directory", fd))

    def fini(self) -> None:
        self.heard.append("fini")

    def open(self, ctx: Context, loc: Loc, flags: int, fd: Fd, xdata: Dict) -> None:
        self.heard.append(("open", fd))
        self.counter("opened").add(self.options["limit"])
        self.histogram("limits").record(self.options["limit"])

    def statedump(self) -> Mapping[str, object]:
        return {"heard": len(self.heard), "path": {"odd": {1, 2}}}


def test_hooks_are_told_in_order() -> None:
    with Stack(Told) as stack:
        fd = stack.create("/a")
        stack.release(fd)
        opened = stack.open("/a")
        stack.release(opened)
        stack.listdir("/")
        gfid = stack.lookup("/a").gfid
        stack.forget(gfid)
        heard = [item for item in Told.heard if not isinstance(item, str)]
        directory = heard.pop(3)
        assert isinstance(directory, tuple) and directory[0] == "directory" and directory[1].is_directory
        assert heard == [fd, ("open", opened), opened, gfid]
    assert Told.heard[-1] == "fini"
    assert "stopping" in Told.heard


def test_options_change_all_or_none() -> None:
    with Stack(Told, options={"limit": "9"}) as stack:
        for options, wanted in (
            ({"limit": "13"}, "bad luck"),
            ({"limit": "0"}, "limit"),
            ({"limit": "ten"}, "limit"),
            ({"fixed": "y"}, "fixed"),
            ({"unknown": "1"}, "unknown"),
        ):
            with pytest.raises(ValueError, match=wanted):
                stack.reconfigure(**options)
        stack.write_file("/a", b"")
        stack.open("/a")
        assert stack.counter("opened") == 9
        stack.reconfigure(limit="20")
        assert Told.heard.count(("limit", 9, 20)) == 1
        stack.open("/a")
        assert stack.counter("opened") == 29
        assert stack.counter("never") == 0
        stats = stack.stats()
        assert stats["histograms"]["limits"]["count"] == 2
        assert (stats["histograms"]["limits"]["min"], stats["histograms"]["limits"]["max"]) == (9, 20)
        assert stats["faults"] == {} and stats["disabled"] is False


def test_state_need_not_be_json() -> None:
    with Stack(Told) as stack:
        state = stack.dump()["state"]
        assert state["heard"] >= 0 and state["path"]["odd"] == "{1, 2}"


def test_logs_reach_logging(caplog: pytest.LogCaptureFixture) -> None:
    class Talks(Translator):
        def lookup(self, ctx: Context, loc: Loc, xdata: Dict) -> None:
            self.log.info("looking for %r", loc.name)

    caplog.set_level(logging.INFO)
    with Stack(Talks) as stack:
        stack.exists("/a")
    assert "looking for b'a'" in caplog.messages


# Outcomes


class Generates(Translator):
    """Leaves a note beside every new file."""

    def create(
        self, ctx: Context, loc: Loc, flags: int, mode: int, umask: int, fd: Fd, xdata: Dict
    ) -> Generator[request.Request, Any, reply.Create]:
        made: reply.Create = yield request.Create(loc, flags, mode, umask, fd, xdata)
        try:
            yield request.Lookup(Loc.entry(ROOT, b"none"))
        except FopError as error:
            assert error.failure.errno == errno.ENOENT
        written: reply.Writev = yield request.Writev(fd, b"header", 0, 0)
        return made.replace(iatt=written.post)


def test_generators_wind_as_often_as_they_like() -> None:
    with Stack(Generates, seed=5) as stack:
        fd = stack.create("/a")
        assert stack.read(fd) == b"header"
        stack.fail("writev", errno.ENOSPC)
        with pytest.raises(FopError) as caught:
            stack.create("/b")
        assert caught.value.errno == errno.ENOSPC
        made = stack.gather(
            [
                request.Create(
                    stack.loc(f"/c{n}"), os.O_RDWR, 0o100644, 0, Fd.file(None, 2), {"gfid-req": uuid.UUID(int=100 + n)}
                )
                for n in range(20)
            ]
        )
        assert {answer.iatt.size for answer in made} == {6}
        assert {stack.lookup(f"/c{n}").size for n in range(20)} == {6}


class Gate(Translator):
    """Holds lookups of one name back until the reply of an fstat comes."""

    def init(self) -> None:
        self.waiting: list[Context] = []

    def lookup(self, ctx: Context, loc: Loc, xdata: Dict) -> Any:
        if loc.name != b"wait":
            return PASS
        self.waiting.append(ctx)
        return LATER

    def lookup_reply(self, ctx: Context, reply: reply.Lookup | Failure) -> None:
        self.counter("replies").add()

    def fstat_reply(self, ctx: Context, reply: reply.Fstat | Failure) -> None:
        for number, waiting in enumerate(self.waiting):
            for outcome in (PASS if number % 2 else Failure(errno.EBUSY), PASS, Failure(5)):
                try:
                    waiting.finish(outcome)
                except RuntimeError:
                    self.counter("refused").add()
        self.waiting.clear()


FSTAT = request.Fstat(Fd.anonymous(ROOT))


def test_others_finish_what_waits() -> None:
    for seed in range(5):
        with Stack(Gate, seed=seed, cores=seed % 2 + 1, layer_options={"time-limit": "10s"}) as stack:
            stack.write_file("/wait", b"")
            stack.delay("fstat", 1.0)
            wait = request.Lookup(stack.loc("/wait"))
            answers = stack.gather([wait, wait, FSTAT])
            assert sorted(getattr(answer, "errno", 0) for answer in answers) == [0, 0, errno.EBUSY]
            assert stack.counter("replies") == 1
            assert stack.counter("refused") == 4


@pytest.mark.parametrize(("policy", "wanted"), [("error", errno.ETIMEDOUT), ("pass", None), ("disable", None)])
def test_what_is_never_finished_ends(policy: str, wanted: int | None) -> None:
    with Stack(Gate, layer_options={"time-limit": "50ms", "on-failure": policy}) as stack:
        stack.mkdir("/wait")
        for _ in range(3):
            (answer,) = stack.gather([request.Lookup(stack.loc("/wait"))])
            assert getattr(answer, "errno", None) == wanted
        assert stack.stats()["disabled"] is (policy == "disable")
        # Whoever finishes them now is told.
        stack.call(FSTAT)
        assert stack.counter("refused") == (0 if policy == "disable" else 9)


def test_threads_may_finish() -> None:
    class Threads(Translator):
        def stat(self, ctx: Context, loc: Loc, xdata: Dict) -> Any:
            helper = threading.Thread(target=ctx.finish, args=(Failure(errno.EBUSY),))
            helper.start()
            # Time is virtual: the stack would not wait for it.
            helper.join()
            return LATER

    with Stack(Threads) as stack:
        (answer,) = stack.gather([request.Stat(Loc.object(ROOT))])
        assert answer.errno == errno.EBUSY


class Raises(Translator):
    """Raises what a test wants."""

    what: ClassVar[BaseException]

    def stat(self, ctx: Context, loc: Loc, xdata: Dict) -> None:
        raise self.what


@pytest.mark.parametrize(
    ("what", "wanted", "fault"),
    [
        (FileNotFoundError(errno.ENOENT, "gone"), errno.ENOENT, False),
        (OSError(errno.EDQUOT, "full"), errno.EDQUOT, False),
        (OSError("no number"), errno.EIO, False),
        (FopError(Failure(errno.ESTALE, Dict({"why": 1}))), errno.ESTALE, False),
        (KeyError("a"), errno.EIO, True),
        (RecursionError(), errno.EIO, True),
        (MemoryError(), errno.EIO, True),
        (SystemExit(3), errno.EIO, True),
        (KeyboardInterrupt(), errno.EIO, True),
        (GeneratorExit(), errno.EIO, True),
        (StopIteration(5), errno.EIO, True),
    ],
    ids=repr,
)
def test_exceptions_become_errors(
    what: BaseException, wanted: int, fault: bool, caplog: pytest.LogCaptureFixture
) -> None:
    Raises.what = what
    with Stack(Raises) as stack:
        for _ in range(3):
            (answer,) = stack.gather([request.Stat(Loc.object(ROOT))])
            assert answer.errno == wanted
        if isinstance(what, FopError):
            assert dict(answer.xdata) == {b"why": 1}
        assert stack.exists("/") and not stack.exists("/a")
        assert list(stack.stats()["faults"].values()) == ([3] if fault else [])
    told = [text for text in caplog.messages if "Traceback" in text]
    assert len(told) == (1 if fault else 0)
    assert all("raise self.what" in text for text in told)


IATT = Iatt(gfid=ROOT, type=2)
WRONG_ANYWHERE: list[object] = [
    0, 1, True, False, "PASS", b"", 1.5, object(), [], (), {}, Failure, Translator, NotImplemented, ..., IATT,
    reply.Lookup(IATT, IATT), reply.Fstat(IATT), OSError(2, "returned, not raised"), (PASS,), [None],
]  # fmt: skip


class Returns(Translator):
    """Returns what a test wants, in each kind of handler."""

    what: ClassVar[object]

    def stat(self, ctx: Context, loc: Loc, xdata: Dict) -> Any:
        return self.what

    def readlink_reply(self, ctx: Context, reply: Any) -> Any:
        return self.what

    def statfs(self, ctx: Context, loc: Loc, xdata: Dict) -> Generator[request.Request, Any, Any]:
        yield request.Statfs(loc, xdata)
        return self.what

    def access(self, ctx: Context, loc: Loc, mask: int, xdata: Dict) -> Generator[Any, Any, None]:
        yield self.what

    def rmdir_batch(self, requests: Sequence[request.Rmdir]) -> Any:
        return [self.what] * len(requests)

    def lookup_reply_batch(self, requests: Sequence[request.Lookup], replies: Sequence[Any]) -> Any:
        return [self.what] * len(requests)


ASKED: dict[str, request.Request] = {
    "stat": request.Stat(Loc.object(ROOT)),
    "statfs": request.Statfs(Loc.object(ROOT)),
    "access": request.Access(Loc.object(ROOT), 0),
    "rmdir": request.Rmdir(Loc.entry(ROOT, b"none"), 0),
    "readlink": request.Readlink(Loc.object(ROOT), 100),
    "lookup": request.Lookup(Loc.entry(ROOT, b"none")),
}


def kinds_of_wrong() -> list[tuple[str, object]]:
    wrong = [(fop, what) for fop in ASKED for what in WRONG_ANYWHERE]
    wrong = [(fop, what) for fop, what in wrong if not (fop == "lookup" and isinstance(what, reply.Lookup))]
    wrong += [(fop, request.Rename(Loc(), Loc(), 0)) for fop in ASKED if fop != "access"]
    wrong += [("access", what) for what in (None, PASS, LATER, Failure(5), reply.Access())]
    # A reply half cannot wind, nor can a reply be put off to a request.
    return wrong + [("readlink", ASKED["readlink"]), ("lookup", ASKED["lookup"])]


@pytest.mark.parametrize(("fop", "what"), kinds_of_wrong(), ids=repr)
def test_wrong_outcomes_fail_that_request_alone(fop: str, what: object) -> None:
    Returns.what = what
    with Stack(Returns) as stack:
        (answer, other) = stack.gather([ASKED[fop], request.Fstat(Fd.anonymous(ROOT))])
        assert isinstance(answer, Failure) and answer.errno == errno.EIO, answer
        assert isinstance(other, reply.Fstat)
        ((kind, times),) = stack.stats()["faults"].items()
        assert times == 1 and kind.startswith("TypeError"), kind


class Lengths(Translator):
    """Returns something else than a sequence of the right length."""

    what: ClassVar[object]

    def lookup_batch(self, requests: Sequence[request.Lookup]) -> Any:
        return self.what

    def stat_reply_batch(self, requests: Sequence[request.Stat], replies: Sequence[Any]) -> Any:
        return self.what


@pytest.mark.parametrize("what", [[], [None] * 3, 5, {None}, iter([None]), PASS, Failure(2)], ids=repr)
def test_batches_have_one_outcome_each(what: object) -> None:
    Lengths.what = what
    with Stack(Lengths) as stack:
        for asked in (ASKED["lookup"], ASKED["stat"]):
            (answer,) = stack.gather([asked])
            assert isinstance(answer, Failure) and answer.errno == errno.EIO
        assert sum(stack.stats()["faults"].values()) == 2


@pytest.mark.parametrize("policy", ["pass", "disable"])
def test_failures_can_be_passed(policy: str) -> None:
    Raises.what = ValueError("always")
    with Stack(Raises, layer_options={"on-failure": policy}) as stack:
        for _ in range(3):
            assert isinstance(stack.call(ASKED["stat"]), reply.Stat)
        assert list(stack.stats()["faults"].values()) == [3 if policy == "pass" else 1]


class Twice(Translator):
    """Finishes a request that it answers as well."""

    def stat(self, ctx: Context, loc: Loc, xdata: Dict) -> Any:
        ctx.finish(Failure(errno.EBUSY))
        return Failure(errno.EPERM)

    def lookup(self, ctx: Context, loc: Loc, xdata: Dict) -> Any:
        ctx.finish(Failure(errno.EBUSY))
        return LATER


def test_a_request_is_answered_once() -> None:
    with Stack(Twice) as stack:
        (answer,) = stack.gather([ASKED["stat"]])
        assert answer.errno == errno.EIO
        ((kind, _),) = stack.stats()["faults"].items()
        assert kind.startswith("RuntimeError")
        (answer,) = stack.gather([ASKED["lookup"]])
        assert answer.errno == errno.EBUSY


# Data


class PyBuffer(ctypes.Structure):
    """What the C API tells of a buffer."""

    _fields_ = [
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]


def address(view: memoryview) -> int:
    """Where the bytes are."""
    buffer = PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
    try:
        return int(buffer.buf or 0)
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))


class Addresses(Translator):
    """Notes where data is."""

    seen: ClassVar[list[tuple[str, int]]] = []

    def writev(self, ctx: Context, fd: Fd, data: memoryview, offset: int, flags: int, xdata: Dict) -> None:
        assert data.readonly
        self.seen.append(("writev", address(data)))

    def readv_reply(self, ctx: Context, answer: reply.Readv | Failure) -> None:
        assert not isinstance(answer, Failure)
        self.seen.append(("readv", address(answer.data)))


def test_data_passes_without_a_copy() -> None:
    with Stack(Addresses, below=[python_layer(Addresses)], above=[python_layer(Addresses)]) as stack:
        Addresses.seen.clear()
        fd = stack.create("/a")
        stack.write(fd, bytes(100_000))
        answer: reply.Readv = stack.call(request.Readv(fd, 100_000, 0, 0))
        assert len(Addresses.seen) == 6
        assert len({place for kind, place in Addresses.seen if kind == "writev"}) == 1
        assert {place for kind, place in Addresses.seen if kind == "readv"} == {address(answer.data)}


class Keeps(Translator):
    """Keeps all data for ever."""

    kept: ClassVar[list[tuple[int, memoryview]]] = []

    def writev(self, ctx: Context, fd: Fd, data: memoryview, offset: int, flags: int, xdata: Dict) -> None:
        self.kept.append((offset, data))

    def readv_reply(self, ctx: Context, reply: reply.Readv | Failure) -> None:
        if not isinstance(reply, Failure):
            self.kept.append((-1, reply.data[2:5]))


def content(number: int) -> bytes:
    return number.to_bytes(4, "big") * 1024


def test_kept_data_stays_as_it_was() -> None:
    Keeps.kept.clear()
    with Stack(Keeps, cores=2) as stack:
        fd = stack.create("/a")
        for first in range(0, 2000, 100):
            writes = [request.Writev(fd, content(n), 4096 * n, 0) for n in range(first, first + 100)]
            assert all(answer.count == 4096 for answer in stack.gather(writes))
        # The engine has gone on: what is kept does not use up what requests need.
        assert stack.read(fd, 4096, 4096 * 1999) == content(1999)
        assert len(Keeps.kept) == 2001
    del stack
    gc.collect()
    offset, part = Keeps.kept.pop()
    assert (offset, bytes(part)) == (-1, content(1999)[2:5])
    assert all(bytes(data) == content(offset // 4096) for offset, data in Keeps.kept)
    with pytest.raises(TypeError):
        Keeps.kept[0][1][0] = 1
    Keeps.kept.clear()


class Remembers(Translator):
    """Keeps all arguments and replies for ever."""

    kept: ClassVar[list[tuple[Loc, Iatt]]] = []

    def lookup(self, ctx: Context, loc: Loc, xdata: Dict) -> None:
        ctx.local = loc

    def lookup_reply(self, ctx: Context, reply: reply.Lookup | Failure) -> None:
        if not isinstance(reply, Failure):
            self.kept.append((ctx.local, reply.iatt))


def test_kept_arguments_outlive_the_stack() -> None:
    Remembers.kept.clear()
    with Stack(Remembers) as stack:
        for name in "abc":
            stack.mkdir(f"/{name}")
            stack.lookup(f"/{name}")
    gc.collect()
    assert [loc.name for loc, _ in Remembers.kept] == [b"a", b"b", b"c"]
    assert len({iatt.gfid for _, iatt in Remembers.kept}) == 3


def test_stacks_come_and_go() -> None:
    threads = len(os.listdir("/proc/self/task"))
    for seed in range(30):
        with Stack(Gate, seed=seed, cores=2) as stack:
            stack.exists("/a")
    assert len(os.listdir("/proc/self/task")) <= threads + 1
