"""The page and its plots: well-formed, complete, and nothing fetched from elsewhere."""

import base64
import json
import re
import xml.etree.ElementTree as xml

import page
import plots
import samples
import table

BARS = {
    "kind": "bars",
    "title": "Cost <of> it",
    "unit": "ns",
    "groups": [
        {
            "label": "a & b",
            "mark": 500,
            "bars": [
                {"side": "stock", "label": "glusterfsd", "value": 1000, "least": 900, "most": 1200},
                {"side": "kiln", "label": "Kiln", "value": 100, "least": 100, "most": 100},
            ],
        }
    ],
}
LINES = {
    "kind": "lines",
    "title": "Latency",
    "series": [
        {"label": "Kiln", "side": "kiln", "points": [[0.0, 1000], [0.5, 2000, 1500, 2500], [0.999, 90_000]]},
        {"label": "nothing", "side": "stock", "points": []},
    ],
    "x": {"label": "percentile", "scale": "percentile"},
    "y": {"label": "latency", "unit": "ns", "scale": "log"},
}
TABLE = {"kind": "table", "title": "T", "head": ["one", "two"], "rows": [["a|b", "<2>"]]}


def shapes(picture, tag):
    """The elements of a picture, which has to be well-formed."""
    return [element for element in xml.fromstring(picture).iter() if element.tag.endswith("}" + tag)]


def test_bars_are_as_long_as_their_values():
    bars = [float(bar.get("width")) for bar in shapes(plots.bars(BARS), "rect") if bar.get("width") != "12"]
    assert len(bars) == 2 and abs(bars[0] / bars[1] - 10) < 0.05
    assert len([path for path in shapes(plots.bars(BARS), "path") if path.get("class") == "error"]) == 1


def test_places_on_axes():
    nines = plots.Axis({"scale": "percentile"}, [0, 0.999], 0, 300)
    assert [round(nines.at(value)) for value in (0, 0.9, 0.99, 0.999)] == [0, 100, 200, 300]
    log = plots.Axis({"scale": "log", "unit": "ns"}, [1000, 100_000], 300, 0)
    assert [round(log.at(value)) for value in (1000, 10_000, 100_000)] == [300, 150, 0]
    linear = plots.Axis({"unit": "count"}, [7], 0, 100)
    assert linear.marks[0] == 0 and linear.marks[-1] >= 7
    assert plots.Axis({"unit": "bytes"}, [230 << 20], 0, 1).marks[1] == 50 << 20
    assert plots.Axis({"scale": "log", "marks": [1, 2]}, [1, 2], 0, 1).marks == [1, 2]


def test_lines_without_points_are_left_out():
    picture = plots.lines(LINES)
    assert len([path for path in shapes(picture, "path") if "line-kiln" in path.get("class", "")]) == 2
    assert "nothing" not in picture


def test_a_picture_by_itself():
    xml.fromstring(plots.standalone(plots.bars(BARS)))


def test_the_page_needs_nothing_from_elsewhere_and_has_the_raw_data_in_it():
    one = samples.results([BARS, LINES, TABLE, {"kind": "pre", "title": "P", "content": "a < b"}], [{"command": "kiln load x", "result": 1}])
    text = page.render([one])
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//|file:)|@import|url\(""", text)
    raw = re.search(r"data:application/json;base64,([A-Za-z0-9+/=]+)", text).group(1)
    assert json.loads(base64.b64decode(raw)) == one
    assert "A &amp; B" in text and "&lt;CPU&gt;" in text and "<code>kiln load</code>" in text and "kiln load x" in text
    for picture in re.findall(r"<svg.*?</svg>", text, re.S):
        xml.fromstring(picture)
    assert text.count("<svg") == 2


def test_several_results_on_one_page():
    text = page.render([samples.results([TABLE]), samples.results([BARS])], "Both")
    assert "<title>Both</title>" in text and 'href="#r1"' in text and text.count('id="r1"') == 1


def test_tables_for_terminals_and_readmes():
    assert table.plain(["one", "two"], [["a", "bcd"], ["ef", "µ"]]) == "one  two\n───  ───\na    bcd\nef     µ"
    assert table.markdown(TABLE["head"], TABLE["rows"]) == "| one | two |\n| --- | --- |\n| a\\|b | <2> |"
