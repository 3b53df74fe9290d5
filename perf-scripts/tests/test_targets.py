"""From runs to the rows of the table."""

import latency
import load
import pytest
import samples
import scale
import special
import summary
import table
import targets
from results import Results

WORKLOADS = {workload.key: workload for workload in targets.WORKLOADS}


def test_figures_of_a_run():
    run = samples.load(count=1000, cpu=0.004, entries=50_000)
    assert load.cpu_per_op(run) == pytest.approx(4000)
    assert load.cpu_per_entry(run) == pytest.approx(80)
    assert load.bytes_per_cpu_second(run) == pytest.approx(1024_000_000)
    # Of the whole operation, not of the parts that it is made of.
    run["operations"][0]["latency_ns"] = {"p99": 1}
    assert load.latency("p99")(run) == 120_000


def test_a_command_line():
    words = load.command("127.0.0.1:1/b", "read", file_size="16M", reuse=True, direct=False, rate=None)
    assert words[1:] == ["load", "127.0.0.1:1/b", "--workload", "read", "--file-size", "16M", "--reuse"]


def test_a_row_is_met_or_not_by_the_median_of_its_ratios():
    figure = WORKLOADS["randread"].figures[0]
    values = {"stock": [40_000, 36_000, 90_000], "kiln": [4000, 4500, 10_000]}
    row = targets.row("4 KiB random read, depth 32", figure, values)
    assert row["ratio"] == {"median": pytest.approx(1 / 9), "least": 0.1, "most": 0.125, "count": 3}
    assert table.cells(row) == ["4 KiB random read, depth 32: CPU per read", "40.0 µs", "4.50 µs", "1/9.0 [1/10..1/8.0]", "≤ 1/9", "yes"]
    assert targets.row("x", figure, {"stock": [8.0], "kiln": [1.0]})["met"] is False


def test_a_row_against_somebody_else_than_glusterfsd():
    values = {"stock": [40_000.0], "kiln": [4000.0], "bare": [1600.0]}
    row = targets.row("read", targets.BARE, values)
    assert row["met"] is False
    assert table.cells(row)[1:] == ["40.0 µs", "4.00 µs", "2.5×", "≤ 2× of the bare server's", "no"]


def test_what_could_not_be_measured_is_told():
    cells = table.cells(targets.empty_row("read", targets.BARE, "no bare server"))
    assert cells[1:4] == ["–", "–", "no bare server"] and cells[5] == "–"


def test_every_row_of_the_issue_is_there():
    figures = [figure for workload in targets.WORKLOADS for figure in workload.figures]
    limits = sorted(figure.target.text(figure.form) for figure in [*figures, special.DIRECT, special.MEMORY, special.CROWD])
    expected = ["≤ 1/9", "≤ 2×", "≤ 1/8", "≤ 1/8", "≤ 1/8", "≤ 1/10", "≤ 1/4", "≤ 1/4", "≥ 2×", "≥ 2×", *["≤ 0.7×"] * 4]
    assert limits == sorted([*expected, "≥ 0.9×", "≤ 1/3", "≥ 0.7×"])


def test_bars_of_shares_have_their_targets():
    row = targets.row("read, depth 32", WORKLOADS["randread"].figures[0], {"stock": [40.0, 40.0], "kiln": [4.0, 5.0]})
    (group,) = targets.share_bars([row, targets.row("x", targets.THROUGHPUT, {"stock": [1.0], "kiln": [2.0]})])
    assert group["label"] == "read: CPU per read" and group["mark"] == pytest.approx(1 / 9)
    stock, kiln = group["bars"]
    assert (stock["value"], kiln["value"], kiln["least"], kiln["most"]) == (1, pytest.approx(0.1125), 0.1, 0.125)


def test_a_whole_summary(tmp_path, capsys):
    results = Results("compare", "t", "a", programs=())
    workload = WORKLOADS["latency-read"]
    runs = {side: [samples.load(p99=p99) for p99 in (3, 1, 2)] for side in ("stock", "kiln")}
    rows = [targets.row(workload.name, figure, {side: [figure.of(run) for run in of] for side, of in runs.items()}) for figure in workload.figures]
    summary.add(results, rows, [(workload, runs)], None)
    kinds = [section["kind"] for section in results.data["sections"]]
    assert kinds == ["targets", "lines", "table"]
    assert load.latency("p99")(summary.middle_run(runs["kiln"])) == 2
    raw, shown = results.write(tmp_path / "out")
    assert raw.exists() and "<svg" in shown.read_text()
    capsys.readouterr()


def test_rates_of_a_curve():
    rates = latency.rates({"stock": 1000.0, "kiln": 10_000.0})
    assert rates == sorted(rates) and rates[0] == 100 and rates[-1] == 9000
    assert all(later > earlier * 1.15 for earlier, later in zip(rates, rates[1:]))


def test_the_highest_rate_that_was_held():
    def point(asked, p99, rate=None):
        return {"asked": asked, "rate": rate or asked, "latency_ns": {"p99": p99}}

    assert latency.held([point(20, 900_000), point(10, 100), point(30, 2_000_000), point(40, 1)]) == 20
    assert latency.held([point(10, 100), point(20, 100, rate=15)]) == 10
    assert latency.held([point(10, 5_000_000)]) is None


def test_steps_of_scaling():
    assert [scale.core_counts(cores) for cores in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
    assert scale.crowds(2000) == ([1, 10, 100, 1000], [10_000])
