from __future__ import annotations

import logging
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kiln import LoadError, _host

HOOKED = """
class T(kiln.Translator):
    options = (kiln.Option("limit", int, default=5, reconfigurable=True), kiln.Option("path", default="/"))
    seen = ()
    def __init__(self): self.early = (self.name, self.options["limit"])
    def init(self): self.started = True
    def reconfigure(self, options):
        if options["limit"] == 13: raise ValueError("unlucky")
        self.seen = (self.options["limit"], options["limit"])
    def notify(self, event, detail): self.event = event
    def statedump(self): return {"a": 1}
    def lookup(self, ctx, loc, xdata): pass
    def lookup_reply(self, ctx, reply): pass
    def writev_batch(self, requests): pass
    def helper(self, ctx_not): pass
"""


def test_a_translator_is_found_bound_and_started(write_module: Callable[..., Any]) -> None:
    loaded = write_module(HOOKED, limit="7")
    assert loaded.instance.early == ("layer", 7)
    assert loaded.instance.started
    assert set(loaded.handlers) == {"lookup", "writev"}
    assert loaded.handlers["lookup"].fop and loaded.handlers["lookup"].reply
    assert loaded.handlers["writev"].batch and not loaded.handlers["writev"].fop
    assert loaded.hooks == {"notify", "statedump"}
    loaded.notify("child-up", None)
    assert loaded.instance.event == "child-up"
    assert loaded.statedump() == {"a": 1}
    loaded.fini()


def test_reconfiguration_is_all_or_nothing(write_module: Callable[..., Any]) -> None:
    loaded = write_module(HOOKED)
    loaded.reconfigure({"limit": "6"})
    assert loaded.instance.seen == (5, 6)
    assert loaded.instance.options["limit"] == 6
    for options, complaint in (
        ({"limit": "13"}, "unlucky"),
        ({"limit": "x"}, "not an integer"),
        ({"path": "/b"}, "cannot be changed"),
        ({"other": "1"}, "no option"),
    ):
        with pytest.raises(ValueError, match=complaint):
            loaded.reconfigure(options)
        assert loaded.instance.options["limit"] == 6


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("def loookup(self, ctx, loc, xdata): pass", "unknown fop `loookup`; did you mean `lookup`"),
        ("def looku_batch(self, requests): pass", "did you mean `lookup_batch`"),
        ("def sende_reply(self, x): pass", "unknown fop"),
        ("lookup = 5", "not callable"),
        ("def lookup(self, ctx, loc): pass", "must take"),
        ("def lookup_batch(self, a, b): pass", "must take"),
        ("async def lookup(self, ctx, loc, xdata): pass", "coroutine"),
        (
            "def lookup(self, ctx, loc, xdata): pass\n    def lookup_batch(self, requests): pass",
            "both `lookup` and `lookup_batch`",
        ),
        ("def stat(self, ctx, loc, xdata): yield\n    def stat_reply(self, ctx, reply): pass", "no reply half"),
        ("def stat_reply(self, ctx, reply): yield", "only `stat` itself"),
        ("options = 'limit'", "must be a tuple"),
        ("options = ('limit',)", "must hold kiln.Option"),
        ("def __init__(self): import sys; sys.exit(3)", "SystemExit"),
        ("def init(self): raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("def __init__(self, needed): pass", "needed"),
    ],
)
def test_mistakes_in_a_class_are_told(write_module: Callable[..., Any], body: str, complaint: str) -> None:
    with pytest.raises(Exception, match=complaint):
        write_module(f"class T(kiln.Translator):\n    {body}\n")


@pytest.mark.parametrize(
    ("text", "class_name", "complaint"),
    [
        ("", None, "defines no translator"),
        ("from kiln import Translator", None, "defines no translator"),
        ("class A(kiln.Translator): pass\nclass B(kiln.Translator): pass", None, "A, B"),
        ("class Trace(kiln.Translator): pass", "trace", "no class `trace`; did you mean `Trace`"),
        ("raise ValueError('of its own')", None, "of its own"),
        ("class A: pass", "A", "not a subclass"),
        ("raise RuntimeError('at import')", None, "at import"),
        ("import sys; sys.exit()", None, "SystemExit"),
        ("import not_there_at_all", None, "not_there_at_all"),
        ("def broken(:", None, "syntax"),
        ("def xlator(c_this): pass", None, "registers no function"),
    ],
)
def test_mistakes_in_a_module_are_told(
    write_module: Callable[..., Any], text: str, class_name: str | None, complaint: str
) -> None:
    with pytest.raises(Exception, match=complaint):
        write_module(text, class_name)


def test_the_class_can_be_chosen(write_module: Callable[..., Any]) -> None:
    two = "class A(kiln.Translator): pass\nclass B(kiln.Translator): pass\n"
    assert type(write_module(two, "B").instance).__name__ == "B"
    assert type(write_module(two + "translator = A").instance).__name__ == "A"
    derived = "class Base(kiln.Translator): pass\nclass Leaf(Base): pass\n"
    assert type(write_module(derived).instance).__name__ == "Leaf"


def test_a_module_that_is_not_there(host: Any) -> None:
    with pytest.raises(LoadError, match="no module `no_such_module` .looked in: /nowhere"):
        _host.load("layer", "no_such_module", None, ["/nowhere"], {}, host)
    with pytest.raises(LoadError, match="not a module's name"):
        _host.load("layer", "", None, [], {}, host)


def test_a_module_belongs_to_its_file(tmp_path: Path, host: Any) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        text = f"import kiln\nclass T(kiln.Translator):\n    place = {folder!r}\n"
        (tmp_path / folder / "same-name.py").write_text(text)

    def loaded(folder: str) -> Any:
        return _host.load("layer", "same-name", None, [str(tmp_path / folder)], {}, host).instance

    assert (loaded("one").place, loaded("two").place) == ("one", "two")
    assert type(loaded("one")) is type(loaded("one"))
    (tmp_path / "one" / "same-name.py").write_text("import kiln\nclass T(kiln.Translator):\n    place = 'changed'\n")
    os.utime(tmp_path / "one" / "same-name.py", (1, 1))
    assert loaded("one").place == "changed"


def test_logs_reach_the_host(write_module: Callable[..., Any], host: Any) -> None:
    loaded = write_module(
        textwrap.dedent("""
        import logging
        class T(kiln.Translator):
            def init(self):
                self.log.warning("own %d", 1)
                logging.getLogger("library").error("root")
                try:
                    1 / 0
                except ZeroDivisionError:
                    self.log.exception("caught")
        """)
    )
    assert loaded.instance.log.name == "layer"
    assert (logging.WARNING, "own 1") in host.logged
    assert (logging.ERROR, "root") in host.logged
    assert any("ZeroDivisionError" in text and "Traceback" in text for _, text in host.logged)


def test_a_module_hides_none_of_pythons(tmp_path: Path, host: Any) -> None:
    import trace

    (tmp_path / "trace.py").write_text(
        "import dataclasses\nimport kiln\n@dataclasses.dataclass\nclass D:\n    x: int\nclass T(kiln.Translator): pass\n"
    )
    loaded = _host.load("layer", "trace", None, [str(tmp_path)], {}, host)
    assert type(loaded.instance).__module__ == f"trace@{tmp_path}/trace.py"
    import trace as again

    assert again is trace
