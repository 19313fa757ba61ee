"""Axes, lines and bars: the numbers in the markup are the numbers that went in."""

import math
import re

import pytest

from ssljax.core.charts import (
    Bar,
    Curve,
    Stack,
    bar_chart,
    curves_chart,
    line_chart,
    log_axis,
    nice_axis,
    stacked_chart,
    step_axis,
    thin,
)
from ssljax.core.wording import digits


@pytest.mark.parametrize(("low", "high", "ticks"), [
    (0, 10, (0, 5, 10)), (2.4, 8.1, (2, 4, 6, 8, 10)), (0, 17_900, (0, 5e3, 1e4, 1.5e4, 2e4)),
    (0.011, 0.034, (0.01, 0.02, 0.03, 0.04)), (-1, 1, (-1, -0.5, 0, 0.5, 1))])
def test_axes_have_round_ticks_that_cover_the_values(low, high, ticks):
    assert nice_axis(low, high).ticks == pytest.approx(ticks)


@pytest.mark.parametrize("value", [0, 3.5, -2.0, 1e-9, 1e9])
def test_an_axis_of_one_value_has_a_length(value):
    axis = nice_axis(value, value)
    assert axis.low < value < axis.high
    assert 0 < axis.place(value) < 1


def test_steps_run_from_zero_to_the_last_without_crowding():
    assert step_axis(1240).ticks == (0, 500, 1240)
    assert step_axis(1).ticks[0] == 0 and step_axis(1).ticks[-1] == 1


def test_thinning_keeps_the_mean():
    points = [(float(i), float(i * i)) for i in range(1000)]
    few = thin(points, 100)
    assert len(few) == 100
    assert sum(y for _, y in few) / 100 == pytest.approx(sum(y for _, y in points) / 1000)
    assert thin(points[:5], 100) == points[:5]


def test_a_line_goes_through_its_points():
    chart = line_chart([(0, 0.0), (50, 10.0), (100, 5.0)], title="T", unit="u", y=nice_axis(0, 10),
                       text=digits)
    path = re.search(r'class="line" d="([^"]+)"', chart)[1]
    assert path == "M0.0 400.0L500.0 0.0L1000.0 200.0"
    assert "<title>step 50: 10.0</title>" in chart
    assert 'class="end" style="bottom:50.00%">5.00<' in chart


def test_bars_share_one_scale_and_show_the_interval():
    chart = bar_chart([Bar("a", 2.0, "2", style="ours", interval=(1.0, 4.0)), Bar("b", 1.0, "1")],
                      label="x")
    assert re.findall(r'width="([\d.]+)"', chart) == ["50.00", "25.00"]
    assert "M25.00 5H100.00" in chart
    assert chart.count('role="listitem"') == 2
    assert "0.00" in bar_chart([Bar("none", 0.0, "0")], label="x")


def test_text_is_escaped():
    chart = bar_chart([Bar("<b>", 1.0, "<i>", note="<u>")], label="<x>")
    line = line_chart([(0, 1.0), (1, 2.0)], title="<t>", unit="<u>", y=nice_axis(1, 2),
                      text=lambda x: "<v>")
    assert not re.search(r"<[biux]>", chart)
    assert not re.search(r"<[tuv]>", line)


@pytest.mark.parametrize(("low", "high", "ticks"), [
    (2.0, 9.0, (2, 5, 10)), (0.3, 4, (0.2, 0.5, 1, 2, 5)), (1e-5, 1.0, tuple(
        10.0**k for k in range(-5, 1)))])
def test_logarithmic_ticks_are_round_and_cover_the_values(low, high, ticks):
    axis = log_axis(low, high)
    assert axis.ticks == pytest.approx(ticks)
    assert axis.place(math.sqrt(axis.low * axis.high)) == pytest.approx(0.5)


def test_a_value_of_rounding_errors_is_one_value():
    axis = nice_axis(0.4, 0.4 + 1e-16)
    assert axis.high - axis.low > 0.05
    assert log_axis(1.0, 1.0).place(1.0) == 0.0


def test_the_pointer_tells_every_curve_that_reaches_there():
    chart = curves_chart([Curve("a", [(0, 1.0), (10, 2.0)]), Curve("b", [(5, 3.0), (20, 4.0)])],
                         title="T", unit="u", y=nice_axis(0, 4), text=digits, x_title="tokens")
    titles = re.findall(r"<title>([^<]+)</title>", chart)
    assert titles == ["tokens 0: \na: 1.00", "tokens 5: \na: 1.00\nb: 3.00",
                      "tokens 10: \na: 2.00\nb: 3.00", "tokens 20: \nb: 4.00"]


def test_parts_of_a_stack_fill_the_bar_by_their_share():
    chart = stacked_chart([Stack("<r>", [("step", 3.0, "3 s"), ("lost", 0.0, ""),
                                         ("data_wait", 1.0, "1 s")], "75 %")], label="time")
    assert re.findall(r'class="part-(\w+)" x="([\d.]+)" width="([\d.]+)"', chart) == [
        ("step", "0.000", "75.000"), ("data_wait", "75.000", "25.000")]
    assert "data wait: 1 s, 25.0" in chart and "part-lost" not in chart and "<r>" not in chart
