"""Feature tables: scales and numbers come from a sample, and no row ever sees its future."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipelines.steps import encode, join_asof, scale, window
from data_pipelines.table import column, documents
from ssljax.core.errors import ConfigError, DataError


@pytest.fixture
def parquet(tmp_path):
    def write(name, **columns):
        pq.write_table(pa.table(columns), tmp_path / name)
        return str(tmp_path / name)

    return write


def rows(**columns):
    count = len(next(iter(columns.values())))
    table = documents([{"source": "s", "row": i, "text": "", "licence": ""} for i in range(count)])
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table


@pytest.mark.parametrize("kind, expected", [
    ("standard", (np.array([3.0, 9.0]) - 2) / np.std([0, 1, 2, 3, 4])),
    ("range", np.array([0.75, 2.25])), ("robust", np.array([0.5, 3.5]))])
def test_scales_are_the_samples_and_gaps_stay(parquet, tmp_path, kind, expected):
    step = scale.make(columns=("x",), sample=parquet("s.parquet", x=[0.0, 1, 2, 3, 4, None]),
                      model=str(tmp_path / "m"), kind=kind)
    found = column(step(pa.table({"x": [3, 9, None]})), "x_scaled")
    assert found[:2] == pytest.approx(expected) and found[2] is None


def test_a_constant_is_not_divided_by_nought_and_clipping_bounds(parquet, tmp_path):
    step = scale.make(columns=("x",), sample=parquet("s.parquet", x=[2, 2]), clip=3.0,
                      model=str(tmp_path / "m"))
    assert column(step(pa.table({"x": [2.0, 9.0, float("inf")]})), "x_scaled") == [0, 3, None]


def test_categories_are_numbered_by_frequency_and_others_are_nought(parquet, tmp_path):
    step = encode.make(columns=("c",), sample=parquet("s.parquet", c=[*"babdab"]),
                       model=str(tmp_path / "m"), most=2)
    assert column(step(pa.table({"c": ["a", "b", "d", None, "z"]})), "c_id") == [2, 1, 0, 0, 0]


def test_windows_end_at_each_row_and_keep_keys_apart():
    draw = np.random.default_rng(0)
    times, keys = draw.integers(0, 50, 200), draw.choice(["p", "q"], 200)
    values = draw.normal(size=200)
    out = window.make(columns=("v",), time="t", by="k", length=10, summaries=window.SUMMARIES)(
        rows(t=times, k=keys, v=values))
    for i in range(200):
        some = values[(keys == keys[i]) & (times <= times[i]) & (times > times[i] - 10)]
        assert column(out, "v_count_10")[i] == len(some)
        for name in ("sum", "mean", "std", "min", "max"):
            assert column(out, f"v_{name}_10")[i] == pytest.approx(getattr(np, name)(some))


def test_timestamps_count_in_seconds():
    start = datetime.datetime(2026, 1, 1)
    times = [start + datetime.timedelta(seconds=s) for s in (0, 5, 20)]
    out = window.make(columns=("v",), time="t", by="k", length=10, summaries=("sum",))(
        rows(t=times, k=["p"] * 3, v=[1.0, 2.0, 4.0]))
    assert column(out, "v_sum_10") == [1, 3, 4]


def test_a_join_sees_the_last_known_value_and_nothing_later_or_too_old(parquet):
    other = parquet("o.parquet", t=[30, 10, 20, 10], k=["p", "p", "p", "q"], v=[3, 1, 2, 9])
    step = join_asof.make(path=other, on="t", by=("k",), columns=("v",), oldest=8)
    out = step(pa.table({"t": [29, 9, 10, 25, 15, 28], "k": ["p", "p", "p", "p", "q", "p"]}))
    assert column(out, "v") == [None, None, 1, 2, 9, 2]
    assert column(out, "t") == [29, 9, 10, 25, 15, 28]
    with pytest.raises(DataError, match="cannot be joined"):
        join_asof.make(path=other, on="time", columns=("v",), oldest=1)(out)


def test_options_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="summaries"):
        window.make(columns=("v",), time="t", by="k", length=1, summaries=("median",))
    with pytest.raises(ConfigError, match="at least 0"):
        join_asof.make(path="x", on="t", columns=("v",), oldest=-1)
