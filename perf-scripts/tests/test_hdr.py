"""Histograms as HdrHistogram's other implementations write them."""

import base64

import hdr
import pytest

# 25 times, written by the Rust implementation, and what it said of them.
LINE = "Tag=stat,0.000,0.001,1.000," + (
    "HISTFAAAAF94nC2IsQ1AQBhGf+9yQUQuIgqJFW4CBdGo7aRRG0ChVhpBoTCCHYzg4nzF915eNc65iNTip34G35uubR4f7h5LSUzKErAbzogCg0"
    "ZQLgshGQObZoXE+QGXZrK8/ksLjQ=="
)
LEAST, MEDIAN, MOST = 12152, 37535, 542719


def near(value):
    """To the three digits that a histogram keeps."""
    return pytest.approx(value, rel=0.001)


def test_a_histogram_of_another_implementation():
    counts = hdr.histogram(f"#[a comment]\n{LINE}\n", "stat")
    assert sum(counts.values()) == 25
    assert min(counts) == near(LEAST) and max(counts) == near(MOST)


def test_intervals_are_added_up_and_other_tags_left_out():
    log = "\n".join([LINE, LINE, LINE.replace("Tag=stat", "Tag=read")])
    assert sum(hdr.histogram(log, "stat").values()) == 50
    assert hdr.histogram(log, "write") == {}


def test_the_curve():
    curve = hdr.curve(LINE, "stat")
    shares, values = zip(*curve)
    assert list(shares) == sorted(shares) and list(values) == sorted(values)
    assert curve[0][1] == near(LEAST) and curve[-1][1] == near(MOST)
    assert min(curve, key=lambda point: abs(point[0] - 0.5))[1] == near(MEDIAN)
    assert hdr.curve("", "stat") == []


def test_what_is_no_histogram():
    with pytest.raises(ValueError):
        hdr.decode(base64.b64encode(bytes(48)).decode())
