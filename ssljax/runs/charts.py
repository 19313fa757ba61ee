"""Line and bar charts as HTML with inline SVG: pure functions from numbers to markup. Free of jax.

Lines and bars are SVG stretched to the width of the page, with strokes that keep their weight;
labels are text beside it, so that they stay as large on a phone as on a desk, and print.
"""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from ssljax.runs.wording import count

WIDTH, HEIGHT = 1000, 400            # of the SVG's own coordinates
POINTS = 400                         # most points of a line; more are averaged in groups
HOVERS = 100                         # most places of a line that answer the pointer


class Axis(NamedTuple):
    """A linear axis: from low to high, with labelled ticks inside."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, x: float) -> float:
        """Return where x lies, 0 to 1."""
        return (x - self.low) / (self.high - self.low)


class Bar(NamedTuple):
    """One row of a bar chart.

    label:    what it is
    value:    its length
    text:     the value as people read it
    note:     a few words under the label
    style:    a class of the style sheet: "ours" is highlighted
    interval: (low, high) drawn as a whisker
    """

    label: str
    value: float
    text: str
    note: str = ""
    style: str = ""
    interval: tuple[float, float] | None = None


def nice_axis(low: float, high: float, *, ticks: int = 5) -> Axis:
    """Return an axis that covers [low, high] with about `ticks` round numbers (steps 1, 2, 5)."""
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / max(ticks - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    values = tuple(round(i * step, 12) for i in range(first, last + 1))
    return Axis(values[0], values[-1], values)


def step_axis(last: float) -> Axis:
    """Return an axis from step 0 to the last one, both labelled, with round ticks between."""
    between = [t for t in nice_axis(0, last).ticks if 0 < t < 0.8 * last]
    return Axis(0, last, (0, *between, last))


def thin(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Return at most `most` points: means of equal groups of neighbours."""
    group = -(-len(points) // most) if points else 1
    parts = [points[i:i + group] for i in range(0, len(points), group)]
    return [(sum(x for x, _ in p) / len(p), sum(y for _, y in p) / len(p)) for p in parts]


def line_chart(points: Sequence[tuple[float, float]], *, title: str, unit: str, y: Axis,
               text: Callable[[float], str]) -> str:
    """Return a line over steps, its last value written at its end.

    Args:
        points: (step, value), steps ascending, all finite; at least one.
        title: what the line shows.
        unit: of the values.
        y: the vertical axis.
        text: how a value is written.
    """
    x = step_axis(points[-1][0])
    drawn = [(WIDTH * x.place(a), HEIGHT * (1 - y.place(b))) for a, b in thin(points, POINTS)]
    path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in drawn)
    grid = "".join(f"M0 {HEIGHT * (1 - y.place(t)):.1f}H{WIDTH}" for t in y.ticks)
    labels = tick_labels(y, decimals(y), "bottom") + tick_labels(x, count, "left")
    end = 100 * y.place(points[-1][1])
    says = f"{title}, {unit}: {text(points[0][1])} at step {count(points[0][0])}, " \
           f"{text(points[-1][1])} at step {count(points[-1][0])}"
    return (f'<figure class="chart"><figcaption><b>{escape(title)}</b> {escape(unit)}</figcaption>'
            f'<div class="plot" role="img" aria-label="{escape(says)}">'
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">'
            f'<path class="grid" d="{grid}"/><path class="line" d="{path}"/>'
            f"{hovers(points, x, text)}</svg>{labels}"
            f'<span class="end" style="bottom:{end:.2f}%">{escape(text(points[-1][1]))}</span>'
            '</div><div class="x-title">step</div></figure>')


def tick_labels(axis: Axis, text: Callable[[float], str], side: str) -> str:
    """Return the labels of an axis, placed in per cent from its start."""
    kind = "y" if side == "bottom" else "x"
    return "".join(f'<span class="{kind}" style="{side}:{100 * axis.place(t):.2f}%">'
                   f"{escape(text(t))}</span>" for t in axis.ticks)


def decimals(axis: Axis) -> Callable[[float], str]:
    """Return how the ticks of an axis are written: with as many decimals as their step needs."""
    step = axis.ticks[1] - axis.ticks[0] if len(axis.ticks) > 1 else 1.0
    places = max(0, -math.floor(math.log10(abs(step)) + 1e-9))
    return lambda x: count(x) if places == 0 else f"{x:,.{places}f}"


def hovers(points: Sequence[tuple[float, float]], x: Axis, text: Callable[[float], str]) -> str:
    """Return invisible columns that tell step and value under the pointer."""
    some = points[::-(-len(points) // HOVERS)]
    edges = [0.0, *((x.place(a) + x.place(b)) / 2 for (a, _), (b, _) in zip(some, some[1:],
                                                                        strict=False)), 1.0]
    return "".join(
        f'<rect class="hover" x="{WIDTH * low:.1f}" width="{WIDTH * (high - low):.1f}" '
        f'height="{HEIGHT}"><title>step {count(step)}: {escape(text(value))}</title></rect>'
        for (step, value), low, high in zip(some, edges, edges[1:], strict=False))


def bar_chart(bars: Sequence[Bar], *, label: str) -> str:
    """Return horizontal bars from zero, one row each, on one scale."""
    most = max((max(b.value, *(b.interval or (0.0,))) for b in bars), default=0.0) or 1.0
    rows = "".join(bar_row(b, most) for b in bars)
    return f'<div class="bars" role="list" aria-label="{escape(label)}">{rows}</div>'


def bar_row(bar: Bar, most: float) -> str:
    """Return one row: label, bar with its whisker, value."""
    note = f"<small>{escape(bar.note)}</small>" if bar.note else ""
    length = f'<rect width="{100 * bar.value / most:.2f}" height="10"/>'
    if bar.interval:
        low, high = (100 * v / most for v in bar.interval)
        length += f'<path d="M{low:.2f} 5H{high:.2f}M{low:.2f} 2V8M{high:.2f} 2V8"/>'
    return (f'<div class="bar {escape(bar.style)}" role="listitem"><span class="name">'
            f"{escape(bar.label)}{note}</span>"
            f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
            f'{length}</svg><span class="value">{escape(bar.text)}</span></div>')
