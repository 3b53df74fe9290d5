"""What a translator leaves unfinished costs those who come later nothing."""

from __future__ import annotations

import errno

import pytest

import kiln
from kiln import LATER, PASS, Context, Dict, Failure, FopError, Loc, reply, request
from kiln.testing import Stack

QUEUE = 4096
"""Requests of one core that can be under way."""


class PutsOff(kiln.Translator):
    def lookup(self, ctx: Context, loc: Loc, xdata: Dict) -> kiln.Outcome[reply.Lookup, request.Lookup]:
        return LATER if loc.name == b"never" else None


def test_requests_that_are_never_finished_leave_their_places() -> None:
    never = request.Lookup(Loc.entry(kiln.ROOT, b"never"))
    with Stack(PutsOff, layer_options={"time-limit": "1ms"}) as stack:
        for _ in range(QUEUE // 512 + 1):
            answers = stack.gather([never] * 512)
            assert {answer.errno for answer in answers} == {errno.ETIMEDOUT}
        assert not stack.exists("/other")
        assert stack.stats()["requests"]["overloaded"] == 0


class Counts(kiln.Translator):
    def init(self) -> None:
        self.kept: list[Context] = []

    def lookup(self, ctx: Context, loc: Loc, xdata: Dict) -> None:
        self.counter("asked").add()

    def lookup_reply(self, ctx: Context, reply: reply.Lookup | Failure) -> None:
        self.counter("answered").add()


def test_a_request_that_was_let_in_is_let_through() -> None:
    with Stack(Counts, layer_options={"queue-limit": "4", "on-overload": "error"}, seed=3) as stack:
        answers = stack.gather([request.Lookup(Loc.entry(kiln.ROOT, b"x"))] * 64)
        refused = sum(answer.errno == errno.EAGAIN for answer in answers)
        assert 0 < refused < 64
        assert stack.stats()["requests"]["overloaded"] == refused
        assert stack.counter("asked") == stack.counter("answered") == 64 - refused


class Early(kiln.Translator):
    """Finishes a request before its handler has returned."""

    def lookup(self, ctx: Context, loc: Loc, xdata: Dict) -> kiln.Outcome[reply.Lookup, request.Lookup]:
        ctx.finish(PASS)
        return LATER

    def lookup_reply(self, ctx: Context, reply: reply.Lookup | Failure) -> Failure:
        return Failure(errno.EXDEV)


def test_the_reply_half_sees_the_reply_however_early_the_request_was_finished() -> None:
    with Stack(Early) as stack, pytest.raises(FopError) as failure:
        stack.lookup("/x")
    assert failure.value.errno == errno.EXDEV
