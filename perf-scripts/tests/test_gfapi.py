"""Which rows of fio through gfapi are measured."""

import gfapi
import pytest


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        (["lookup", "gfapi"], list(gfapi.JOBS)),
        (["gfapi-randwrite", "lookup", "gfapi-randread"], ["randread", "randwrite"]),
        (["lookup"], []),
    ],
)
def test_rows_are_named_all_at_once_or_one_by_one(wanted, rows):
    assert gfapi.chosen(wanted) == rows
