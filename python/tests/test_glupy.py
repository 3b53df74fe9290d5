"""Both historical APIs, without a brick: types of arguments, changes, and that each half is settled once."""

from __future__ import annotations

import ctypes
import errno
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gluster
from gluster import glupy
from gluster._bridge.attributes import iatt_pointer, take_iatt
from gluster._bridge.layer import adapt
from gluster._bridge.operations import OPERATIONS
from gluster._bridge.places import fd_pointer, inode_pointer
from kiln import FOPS, LATER, NULL, ROOT, Dict, Dirent, Failure, Fd, Iatt, Loc, StatFs, reply, request

GFID = bytes(range(16))
FOUND = Iatt(gfid=GFID, type=1, prot=0o4751, nlink=1, uid=3, size=77, blocks=1, mtime=1_500_000_000_123_456_789)
LOOKUP = """
from gluster.glupy import *
class xlator(Translator):
    def __init__(self, c_this):
        self.frames = []
        Translator.__init__(self, c_this)
    def lookup_fop(self, frame, this, loc, xdata):
        self.frames.append(frame)
        do_fop(frame, this, loc, xdata)
    def lookup_cbk(self, frame, cookie, this, op_ret, op_errno, inode, buf, xdata, postparent):
        self.frames.append(frame)
        do_cbk(frame, cookie, this, op_ret, op_errno, inode, buf, xdata, postparent)
"""
dl: Any = glupy.dl
NO_CHILD = ctypes.POINTER(glupy.xlator_t)()


def wind(frame: Any, this: Any, loc: Any, xdata: Any) -> None:
    dl.wind_lookup(frame, NO_CHILD, loc, xdata)


def unwind(*arguments: Any) -> None:
    dl.unwind_lookup(*arguments)


class Lookup:
    """A translator that handles lookup with two functions."""

    def __init__(self, host: Any, fop: Callable[..., Any] = wind, cbk: Callable[..., Any] = unwind) -> None:
        module: Any = type(gluster)("written")
        exec(LOOKUP, vars(module))
        module.do_fop, module.do_cbk = fop, cbk
        self.layer, handlers = adapt(module, "xlator", host)
        self.fop: Any = handlers["lookup"].fop
        self.reply: Any = handlers["lookup"].reply
        self.host = host

    @property
    def misuse(self) -> int:
        return int(self.host.counters["wound-or-unwound-twice"].value)


PLACE = Loc(NULL, ROOT, b"name")


def test_the_table_is_glupys() -> None:
    assert len(OPERATIONS) == 27
    assert list(OPERATIONS)[:2] == ["lookup", "create"]
    lookup = OPERATIONS["lookup"]
    assert [column.name for column in lookup.cbk] == ["inode", "buf", "xdata", "postparent"]
    rows = {row[0]: row for row in FOPS}
    for name, operation in OPERATIONS.items():
        arguments = {argument for argument, _ in rows[name][2]} | {"xdata"}
        taken = {column.source for column in operation.fop} - {None}
        assert taken <= arguments
        assert arguments - taken <= {"flags"} if name == "rename" else arguments == taken


def test_star_imports_bring_what_translators_use() -> None:
    for module, names in (
        (glupy, ("Translator", "iatt_t", "rwxperm_t", "IA_IFSOCK", "dl", "sys")),
        (gluster, ("lookup_fop_t", "create_cbk_t", "OpLookup", "dl", "loc_t")),
    ):
        scope: dict[str, Any] = {}
        exec(f"from {module.__name__} import *", scope)
        assert {*names, "POINTER", "c_long", "c_uint64", "Structure", "call_frame_t", "xlator_t"} <= set(scope)
    assert set(gluster.__all__) >= {f"{name}_{half}_t" for name in OPERATIONS for half in ("fop", "cbk")}
    assert [kind for _, kind in dict_fields(gluster.loc_t)[2:4]] == [ctypes.c_void_p] * 2


def dict_fields(structure: Any) -> list[Any]:
    return list(structure._fields_)


def test_a_lookup_passes_unchanged(host: Any, context: Any) -> None:
    one = Lookup(host)
    ctx = context()
    assert one.fop(ctx, PLACE, Dict({"k": 1})) is None
    found = reply.Lookup(FOUND, Iatt(), Dict({"x": b"y"}))
    assert one.reply(ctx, found) is found
    failed = Failure(errno.ENOENT, None, Iatt(gfid=ROOT))
    assert Lookup(host).reply(context(), failed) is failed
    assert one.misuse == 0


def test_what_a_handler_sees(host: Any, context: Any) -> None:
    seen: dict[str, Any] = {}

    def fop(frame: Any, this: Any, loc: Any, xdata: Any) -> None:
        place = loc.contents
        seen["loc"] = (place.path, place.name, bytes(place.pargfid), bytes(place.gfid))
        seen["parent"] = bytes(place.parent.contents.gfid)
        seen["xdata"] = bool(xdata)
        seen["ids"] = (dl.get_id(frame), dl.get_rootunique(frame))
        wind(frame, this, loc, xdata)

    def cbk(frame: Any, cookie: Any, this: Any, ret: int, err: int, inode: Any, buf: Any, xdata: Any, post: Any) -> None:
        iatt = buf.contents
        seen["buf"] = (bytes(iatt.ia_gfid), iatt.ia_size, iatt.ia_mtime, iatt.ia_mtime_nsec, iatt.ia_type, iatt.ia_uid)
        prot = iatt.ia_prot
        seen["prot"] = (prot.suid, prot.owner.read, prot.owner.write, prot.owner.execn, prot.group.write, prot.other.execn)
        seen["inode"] = (bytes(inode.contents.gfid), inode.contents.ia_type)
        seen["id again"] = dl.get_id(frame)
        unwind(frame, cookie, this, ret, err, inode, buf, xdata, post)
        seen["id after"] = dl.get_id(frame)

    one, ctx = Lookup(host, fop, cbk), context()
    one.fop(ctx, PLACE, Dict())
    one.reply(ctx, reply.Lookup(FOUND, Iatt(), Dict()))
    assert seen["loc"] == (b"/name", b"name", ROOT, NULL)
    assert seen["parent"] == ROOT
    assert not seen["xdata"]
    assert seen["ids"][0] > 0 and seen["ids"][1] == ctx.unique
    assert seen["buf"] == (GFID, 77, 1_500_000_000, 123_456_789, 1, 3)
    assert seen["prot"] == (1, 1, 1, 1, 0, 1)
    assert seen["inode"] == (GFID, 1)
    assert (seen["id again"], seen["id after"]) == (seen["ids"][0], 0)


def test_an_answer_of_its_own(host: Any, context: Any) -> None:
    def fop(frame: Any, this: Any, loc: Any, xdata: Any) -> None:
        unwind(frame, 0, this, -1, 2, None, None, None, None)

    assert Lookup(host, fop).fop(context(), PLACE, Dict()) == Failure(2)


def test_changed_arguments_take_effect(host: Any, context: Any) -> None:
    def fop(frame: Any, this: Any, loc: Any, xdata: Any) -> None:
        loc.contents.name = b"other"
        wind(frame, this, loc, None)

    changed = Lookup(host, fop).fop(context(), PLACE, Dict({"k": 1}))
    assert isinstance(changed, request.Lookup)
    assert (changed.loc, dict(changed.xdata)) == (Loc(NULL, ROOT, b"other"), {})

    def own(frame: Any, this: Any, loc: Any, xdata: Any) -> None:
        place = glupy.loc_t()
        place.name = b"mine"
        place.pargfid[:] = list(GFID)
        wind(frame, this, ctypes.byref(place), xdata)

    assert Lookup(host, own).fop(context(), PLACE, Dict()).loc == Loc(NULL, GFID, b"mine")


def test_changed_results_take_effect(host: Any, context: Any) -> None:
    def cbk(frame: Any, cookie: Any, this: Any, ret: int, err: int, inode: Any, buf: Any, xdata: Any, post: Any) -> None:
        if ret == 0:
            buf.contents.ia_size = 5
            buf.contents.ia_prot.other.write = 1
        unwind(frame, cookie, this, ret, 13 if ret else 0, inode, buf, xdata, post)

    one, ctx = Lookup(host, wind, cbk), context()
    one.fop(ctx, PLACE, Dict())
    answer = one.reply(ctx, reply.Lookup(FOUND, Iatt(), Dict()))
    assert answer.iatt == FOUND.replace(size=5, prot=0o4753)
    assert Lookup(host, wind, cbk).reply(context(), Failure(2)).errno == 13


def test_each_half_is_settled_once(host: Any, context: Any) -> None:
    def twice(frame: Any, this: Any, loc: Any, xdata: Any) -> None:
        wind(frame, this, loc, xdata)
        with pytest.raises(RuntimeError, match="already wound"):
            wind(frame, this, loc, xdata)
        with pytest.raises(RuntimeError, match="already wound"):
            unwind(frame, 0, this, -1, 2, None, None, None, None)

    def again(frame: Any, *rest: Any) -> None:
        unwind(frame, *rest)
        with pytest.raises(RuntimeError, match="already unwound"):
            unwind(frame, *rest)
        with pytest.raises(RuntimeError, match="already unwound"):
            dl.wind_lookup(frame, NO_CHILD, kept, None)

    kept = ctypes.pointer(glupy.loc_t())
    one, ctx = Lookup(host, twice, again), context()
    one.fop(ctx, PLACE, Dict())
    one.reply(ctx, Failure(2))
    assert one.misuse == 4


def test_a_callback_cannot_wind(host: Any, context: Any) -> None:
    def cbk(frame: Any, *rest: Any) -> None:
        dl.wind_lookup(frame, NO_CHILD, ctypes.pointer(glupy.loc_t()), None)

    one = Lookup(host, wind, cbk)
    with pytest.raises(RuntimeError, match="in its callback"):
        one.reply(context(), Failure(2))


def test_a_request_can_be_settled_later_from_a_thread(host: Any, context: Any) -> None:
    kept: list[Any] = []
    one, ctx = Lookup(host, lambda *all: kept.append(all), lambda *all: kept.append(all)), context()
    assert one.fop(ctx, PLACE, Dict()) is LATER
    thread = threading.Thread(target=wind, args=kept[0])
    thread.start()
    thread.join()
    assert ctx.finished == [None]
    ctx.finished.clear()
    found = reply.Lookup(FOUND, Iatt(), Dict())
    assert one.reply(ctx, found) is LATER
    unwind(*kept[1])
    assert ctx.finished == [found]
    with pytest.raises(RuntimeError):
        unwind(*kept[1])


def test_exceptions_pass_and_end_the_request(host: Any, context: Any) -> None:
    kept: list[Any] = []

    def fop(*all: Any) -> None:
        kept.append(all)
        raise KeyError("oops")

    with pytest.raises(KeyError):
        Lookup(host, fop).fop(context(), PLACE, Dict())
    with pytest.raises(RuntimeError):
        wind(*kept[0])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (lambda frame, loc: (frame, NO_CHILD, loc), "takes 4 arguments .frame, xl, loc, xdata., not 3"),
        (lambda frame, loc: (frame, NO_CHILD, loc, "xdata"), r"argument 4 \(xdata\) must be dict_t\*, not str"),
        (lambda frame, loc: (frame, NO_CHILD, b"name", None), r"argument 3 \(loc\) must be loc_t\*, not bytes"),
        (lambda frame, loc: (frame, NO_CHILD, None, None), "must not be NULL"),
        (lambda frame, loc: (frame, loc, loc, None), r"argument 2 \(xl\) must be xlator_t\*"),
        (lambda frame, loc: (frame, glupy.xlator_t(), loc, None), "must be NULL .the first child."),
        (lambda frame, loc: (1, NO_CHILD, loc, None), r"argument 1 \(frame\) must be call_frame_t\*, not int"),
        (lambda frame, loc: (None, NO_CHILD, loc, None), "must not be NULL"),
        (lambda frame, loc: (glupy.call_frame_t(), NO_CHILD, loc, None), "not a call_frame_t that the brick made"),
        (lambda frame, loc: (frame, NO_CHILD, loc, glupy.dict_t()), "not a dict_t that the brick made"),
    ],
)
def test_wrong_arguments_are_told_at_once(host: Any, context: Any, arguments: Any, complaint: str) -> None:
    def fop(frame: Any, this: Any, loc: Any, xdata: Any) -> None:
        with pytest.raises(TypeError, match=complaint):
            dl.wind_lookup(*arguments(frame, loc))
        wind(frame, this, loc, xdata)

    assert Lookup(host, fop).fop(context(), PLACE, Dict()) is None


@pytest.mark.parametrize(
    ("ret", "err", "buf", "complaint"),
    [
        ("0", 0, True, "op_ret. must be int, not str"),
        (0, 1 << 40, True, "does not fit"),
        (-1, 0, True, "needs a positive op_errno"),
        (0, 0, None, "buf must not be NULL"),
    ],
)
def test_wrong_results_are_told_at_once(host: Any, context: Any, ret: Any, err: Any, buf: Any, complaint: str) -> None:
    def cbk(frame: Any, cookie: Any, this: Any, _r: int, _e: int, inode: Any, given: Any, xdata: Any, post: Any) -> None:
        with pytest.raises(TypeError, match=complaint):
            unwind(frame, cookie, this, ret, err, inode, buf and given, xdata, post)
        with pytest.raises(TypeError, match="is a request for lookup"):
            dl.unwind_stat(frame, cookie, this, 0, 0, given, xdata)
        unwind(frame, cookie, this, 0, 0, inode, given, xdata, post)

    one, ctx = Lookup(host, wind, cbk), context()
    one.fop(ctx, PLACE, Dict())
    one.reply(ctx, reply.Lookup(FOUND, Iatt(), Dict()))


def test_the_library_says_what_it_lacks() -> None:
    with pytest.raises(AttributeError, match="no function `wind_lokup`; did you mean `wind_lookup`"):
        dl.wind_lokup  # noqa: B018
    dl.get_id.restype = ctypes.c_long
    dl.get_id.argtypes = [ctypes.POINTER(glupy.call_frame_t)]
    with pytest.raises(TypeError, match="address that the constructor was given"):
        dl.set_lookup_fop(12345, lambda *all: 0)


def test_wrong_handlers_do_not_load(write_module: Callable[..., Any]) -> None:
    start = "from gluster.glupy import *\nclass xlator(Translator):\n"
    with pytest.raises(TypeError, match="lookup_fop must take 4 arguments"):
        write_module(start + "    def lookup_fop(self, frame, this, loc): pass\n")
    with pytest.raises(TypeError, match="unknown operation; did you mean `lookup_fop`"):
        write_module(start + "    def loookup_fop(self, frame, this, loc, xdata): pass\n")
    with pytest.raises(TypeError, match="lookup_cbk must take"):
        write_module("from gluster import *\n@lookup_cbk_t\ndef f(frame): pass\nclass xlator: pass\n")
    with pytest.raises(TypeError, match="declared as lookup_fop_t"):
        write_module(
            "from gluster import *\n@lookup_fop_t\ndef f(frame, this, loc, xdata): pass\n"
            "class xlator:\n    def __init__(self, xl): dl.set_stat_fop(xl, f)\n"
        )
    with pytest.raises(TypeError, match="positional argument"):
        write_module("class xlator:\n    def __init__(self): pass\n")


def test_data_keeps_its_buffer(context: Any, write_module: Callable[..., Any]) -> None:
    loaded = write_module(
        "from gluster.glupy import *\nclass xlator(Translator):\n"
        "    def readv_cbk(self, frame, cookie, this, op_ret, op_errno, vector, count, stbuf, iobref, xdata):\n"
        "        dl.unwind_readv(frame, cookie, this, min(op_ret, 3), op_errno, vector, count, stbuf, iobref, xdata)\n"
    )
    handler = loaded.handlers["readv"]
    assert handler.fop is None
    short = reply.Readv(data=b"ab", eof=True, iatt=FOUND, xdata=Dict())
    assert handler.reply(context("readv"), short) is short
    cut = handler.reply(context("readv"), reply.Readv(data=b"abcdef", eof=False, iatt=FOUND, xdata=Dict()))
    assert bytes(cut.data) == b"abc" and not cut.eof and cut.iatt == FOUND


def test_kept_pointers_stay_valid(host: Any, context: Any) -> None:
    kept: list[Any] = []

    def fop(frame: Any, this: Any, loc: Any, xdata: Any) -> None:
        kept.append((loc.contents.name, loc, xdata, loc.contents.parent))
        wind(frame, this, loc, xdata)

    one = Lookup(host, fop)
    for number in range(100):
        one.fop(context(), Loc(NULL, GFID, b"%d" % number), Dict({"n": number}))
    gc.collect()
    for number, (name, loc, _, parent) in enumerate(kept):
        assert name == loc.contents.name == b"%d" % number
        assert bytes(parent.contents.gfid) == GFID

    def swapped(frame: Any, this: Any, loc: Any, xdata: Any) -> None:
        wind(frame, this, loc, kept[7][2])

    assert dict(Lookup(host, swapped).fop(context(), PLACE, Dict()).xdata) == {b"n": 7}


def test_objects_have_one_address(host: Any) -> None:
    assert ctypes.addressof(inode_pointer(GFID).contents) == ctypes.addressof(inode_pointer(GFID).contents)
    fd = Fd.file(GFID, 2)
    one, two = fd_pointer(fd), fd_pointer(fd)
    assert ctypes.addressof(one.contents) == ctypes.addressof(two.contents)
    assert bytes(one.contents.inode.contents.gfid) == GFID


times = st.integers(0, (1 << 32) * 1_000_000_000 - 1)
iatts = st.builds(
    Iatt,
    gfid=st.binary(min_size=16, max_size=16),
    type=st.integers(0, 7),
    prot=st.integers(0, 0o7777),
    nlink=st.integers(0, (1 << 32) - 1),
    uid=st.integers(0, (1 << 32) - 1),
    gid=st.integers(0, (1 << 32) - 1),
    size=st.integers(0, (1 << 63) - 1),
    blocks=st.integers(0, (1 << 63) - 1),
    rdev=st.builds(lambda major, minor: major << 32 | minor, st.integers(0, 4095), st.integers(0, 1 << 19)),
    atime=times,
    mtime=times,
    ctime=times,
)


@given(iatts, iatts)
def test_attributes_go_there_and_back(one: Iatt, other: Iatt) -> None:
    target = iatt_pointer(one)
    assert take_iatt(target, "buf") is one
    ctypes.memmove(target, iatt_pointer(other), ctypes.sizeof(glupy.iatt_t))
    assert take_iatt(target, "buf") == other


def test_every_operation_passes_through_the_trace(load: Callable[..., Any], context: Any, capfd: Any) -> None:
    loaded = load("debug-trace", "glupy")
    assert set(loaded.handlers) == set(list(OPERATIONS)[:23]) - {"fremovexattr"}
    samples = sample_arguments()
    for name, handler in loaded.handlers.items():
        operation = OPERATIONS[name]
        ctx = context(name)
        arguments = tuple(samples[argument] for argument in operation.arguments)
        assert handler.fop(ctx, *arguments) is None, name
        failed = Failure(5)
        assert handler.reply(ctx, failed) is failed, name
    shown = capfd.readouterr().err
    assert "lookup_fop: loc=(path=b'/name'" in shown and "op_ret=-1, op_errno=5" in shown


def sample_arguments() -> dict[str, Any]:
    fd = Fd.file(GFID, 2)
    numbers = dict.fromkeys(("flags", "mode", "umask", "size", "offset"), 7)
    places = dict.fromkeys(("loc", "old", "new"), PLACE)
    others = {"data": b"data", "dict": Dict({"a": b"b"}), "name": b"user.a", "target": b"t", "xdata": Dict()}
    return {**numbers, **places, **others, "fd": fd}


PASSING = """
from gluster.glupy import *
from gluster._bridge.operations import OPERATIONS
class xlator(Translator): pass
for name in OPERATIONS:
    setattr(xlator, name + "_fop", lambda self, frame, this, *all, n=name: getattr(dl, "wind_" + n)(frame, None, *all))
    setattr(xlator, name + "_cbk", lambda self, *all, n=name: getattr(dl, "unwind_" + n)(*all))
"""


def test_all_operations_pass_unchanged(write_module: Callable[..., Any], context: Any) -> None:
    loaded = write_module(PASSING)
    assert set(loaded.handlers) == set(OPERATIONS)
    samples = sample_arguments() | {"rdev": 8 << 32 | 1, "xattrs": Dict({"user.a": b"1"})}
    fields: dict[str, Any] = {
        **{"target": b"link", "data": b"data", "eof": True, "dict": Dict({"a": 1}), "count": 4},
        **{"entries": (Dirent(b"a", 1, 2, 8),), "statfs": StatFs(bsize=512), "xdata": Dict({"x": 1})},
    }
    for name, handler in loaded.handlers.items():
        operation, ctx = OPERATIONS[name], context(name)
        assert handler.fop(ctx, *(samples[argument] for argument in operation.arguments)) is None, name
        sources = {column.source for column in operation.cbk if column.source is not None}
        extra = {"readv": {"eof"}, "readdir": {"eof"}, "readdirp": {"eof"}, "writev": {"count"}}.get(name, set())
        answer = operation.reply(**{source: fields.get(source, FOUND) for source in sources | extra})
        assert handler.reply(ctx, answer) is answer, name


def test_a_success_needs_its_result(write_module: Callable[..., Any], context: Any) -> None:
    loaded = write_module(
        "from gluster.glupy import *\nclass xlator(Translator):\n"
        "    def statfs_fop(self, frame, this, loc, xdata):\n"
        "        dl.unwind_statfs(frame, 0, this, 0, 0, None, None)\n"
    )
    with pytest.raises(TypeError, match="buf must not be NULL"):
        loaded.handlers["statfs"].fop(context("statfs"), PLACE, Dict())
