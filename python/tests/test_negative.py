"""No cache of absent names hides one that exists, in whatever order requests and replies overlap."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from kiln import NULL, ROOT, Dict, Failure, Fd, Iatt, Loc, reply
from kiln.caches import NegativeNames, asks_nothing_of_absent, name_of

DIRECTORIES = (ROOT, bytes(range(16)))
NAMES = (b"a", b"b")
FILE = Iatt(gfid=bytes(range(1, 17)), type=1)
MAKERS = ("create", "mkdir", "mknod", "symlink", "link", "rename", "put", "namelink")


def made(fop: str) -> Any:
    iatts = {"rename": 5, "namelink": 2}.get(fop, 3)
    return getattr(reply, fop.capitalize())(*[FILE] * iatts)


def arguments(fop: str, name: Loc, old: Loc) -> tuple[Any, ...]:
    fd = Fd.file(NULL, 2)
    return {
        "lookup": (name, Dict()),
        "create": (name, 0, 0, 0, fd, Dict()),
        "mkdir": (name, 0, 0, Dict()),
        "mknod": (name, 0, 0, 0, Dict()),
        "symlink": (b"target", name, 0, Dict()),
        "link": (old, name, Dict()),
        "rename": (old, name, 0, Dict()),
        "put": (name, 0, 0, 0, b"", 0, Dict(), Dict()),
        "namelink": (name, Dict()),
        "unlink": (name, 0, Dict()),
    }[fop]


class Layer:
    """Calls plain and batch handlers alike."""

    def __init__(self, loaded: Any) -> None:
        self.handlers = loaded.handlers

    def fop(self, ctx: Any, fop: str, args: tuple[Any, ...]) -> Any:
        handler = self.handlers.get(fop)
        if handler is None:
            return None
        if handler.batch is not None:
            outcomes = handler.batch([self._request(ctx, fop, args)])
            return None if outcomes is None else outcomes[0]
        return None if handler.fop is None else handler.fop(ctx, *args)

    def reply(self, ctx: Any, fop: str, args: tuple[Any, ...], answer: Any) -> None:
        handler = self.handlers.get(fop)
        if handler is not None and handler.reply_batch is not None:
            handler.reply_batch([self._request(ctx, fop, args)], [answer])
        elif handler is not None and handler.reply is not None:
            handler.reply(ctx, answer)

    @staticmethod
    def _request(ctx: Any, fop: str, args: tuple[Any, ...]) -> Any:
        if fop in ("link", "rename"):
            return SimpleNamespace(ctx=ctx, old=args[0], new=args[1], xdata=args[-1])
        return SimpleNamespace(ctx=ctx, loc=args[1 if fop == "symlink" else 0], xdata=args[-1])


class Volume:
    """The names that exist; requests that have been sent down, done there, and answered."""

    def __init__(self, layer: Layer, seed: int, context: Callable[..., Any]) -> None:
        self.layer, self.context = layer, context
        self.random = random.Random(seed)
        self.names: set[tuple[bytes, bytes]] = set()
        self.sent: list[Any] = []
        self.done: list[Any] = []
        self.hits = self.wrong = 0

    def step(self) -> None:
        choice = self.random.random()
        if choice < 0.4 or not (self.sent or self.done):
            self.send()
        elif choice < 0.7 and self.sent:
            self.carry_out(self.sent.pop(self.random.randrange(len(self.sent))))
        elif self.done:
            ctx, fop, args, answer = self.done.pop(self.random.randrange(len(self.done)))
            self.layer.reply(ctx, fop, args, answer)

    def send(self) -> None:
        fop = self.random.choice(("lookup", "lookup", "lookup", "unlink", *self.random.sample(MAKERS, 1)))
        name, old = ((self.random.choice(DIRECTORIES), self.random.choice(NAMES)) for _ in range(2))
        args = arguments(fop, Loc.entry(*name), Loc.entry(*old))
        ctx = self.context(fop)
        outcome = self.layer.fop(ctx, fop, args)
        if isinstance(outcome, Failure):
            self.hits += 1
            self.wrong += name in self.names
        else:
            self.sent.append((ctx, fop, args, name, old))

    def carry_out(self, one: Any) -> None:
        ctx, fop, args, name, old = one
        answer: Any = Failure(errno.EEXIST)
        if fop == "lookup":
            answer = reply.Lookup(FILE, Iatt(), Dict()) if name in self.names else Failure(errno.ENOENT)
        elif fop == "unlink":
            answer = reply.Unlink(Iatt(), Iatt(), Dict()) if name in self.names else Failure(errno.ENOENT)
            self.names.discard(name)
        elif fop == "rename":
            answer = made(fop) if old in self.names else Failure(errno.ENOENT)
            if old in self.names:
                self.names.discard(old)
                self.names.add(name)
        elif name not in self.names:
            self.names.add(name)
            answer = made(fop)
        self.done.append((ctx, fop, args, answer))


CACHES = [
    ("negative", "."),
    ("negative_batch", "."),
    ("negative_correct", "glupy"),
    ("negative_correct", "article"),
]


@pytest.mark.parametrize(("module", "folder"), CACHES)
def test_a_correct_cache_hides_nothing(load: Callable[..., Any], context: Any, module: str, folder: str) -> None:
    hits = 0
    for seed in range(40):
        volume = Volume(Layer(load(module, folder)), seed, context)
        for _ in range(150):
            volume.step()
        assert volume.wrong == 0, seed
        hits += volume.hits
    assert hits > 50


@pytest.mark.parametrize("folder", ["glupy", "article"])
def test_the_demonstrations_do(load: Callable[..., Any], context: Any, folder: str) -> None:
    wrong = 0
    for seed in range(40):
        volume = Volume(Layer(load("negative", folder)), seed, context)
        for _ in range(150):
            volume.step()
        wrong += volume.wrong
    assert wrong > 0


def test_what_cannot_be_cached() -> None:
    assert name_of(Loc.entry(ROOT, b"a")) == (ROOT, b"a")
    assert name_of(Loc.object(ROOT)) is None
    assert asks_nothing_of_absent(Dict({"gfid-req": b"x" * 16, "user.a": b"", "trusted.b": b""}))
    assert not asks_nothing_of_absent(Dict({"something-new": 1}))


def test_memory_is_bounded() -> None:
    names = NegativeNames(10)
    for number in range(1000):
        key = (DIRECTORIES[number % 2], b"%d" % number)
        names.learn_absent(names.ask(key))
        names.close((bytes([number % 256]) * 16, b"x"))
        names.open((bytes([number % 256]) * 16, b"x"))
    assert len(names) <= 10
    held = names.statistics()
    assert held["evicted"] == held["learnt"] - len(names)
    assert held["closed"] == 0
    assert len(names._changed) <= 10
    names.resize(3)
    assert len(names) == 3
    names.clear()
    assert len(names) == 0


def test_a_change_that_is_no_longer_remembered_still_counts() -> None:
    names = NegativeNames(1)
    ticket = names.ask((ROOT, b"a"))
    for parent in (ROOT, bytes(15) + b"\2", bytes(15) + b"\3"):
        names.close((parent, b"a"))
        names.open((parent, b"a"))
    names.learn_absent(ticket)
    assert not names.is_absent((ROOT, b"a"))


@pytest.mark.parametrize("folder", ["glupy", "article"])
def test_old_caches_keep_statistics(load: Callable[..., Any], context: Any, folder: str) -> None:
    one, other = load("negative_correct", folder), load("negative_correct", folder)
    layer = Layer(one)
    for _ in range(2):
        ctx = context()
        args = arguments("lookup", Loc.entry(ROOT, b"a"), Loc())
        if layer.fop(ctx, "lookup", args) is None:
            layer.reply(ctx, "lookup", args, Failure(errno.ENOENT))
    assert one.statedump()["state"] == {"hits": 1, "misses": 1, "names": 1, "closed": 0}
    assert other.statedump()["state"] == {"hits": 0, "misses": 0, "names": 0, "closed": 0}
