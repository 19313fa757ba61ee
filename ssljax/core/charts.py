"""Line and bar charts as HTML with inline SVG: pure functions from numbers to markup. Free of jax.

Lines and bars are SVG stretched to the width of the page, with strokes that keep their weight;
labels are text beside it, so that they stay as large on a phone as on a desk, and print.
"""

import bisect
import importlib.resources
import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from ssljax.core.wording import count, share

WIDTH, HEIGHT = 1000, 400            # of the SVG's own coordinates
POINTS = 400                         # most points of a line; more are averaged in groups
HOVERS = 100                         # most places of a line that answer the pointer


class Axis(NamedTuple):
    """An axis from low to high with labelled ticks inside, linear after `scale`."""

    low: float
    high: float
    ticks: tuple[float, ...]
    scale: Callable[[float], float] = float

    def place(self, x: float) -> float:
        """Return where x lies, 0 to 1."""
        low, high = self.scale(self.low), self.scale(self.high)
        return (self.scale(x) - low) / (high - low)


class Curve(NamedTuple):
    """One line of a chart.

    label:  what it is
    points: (x, value), x ascending, all finite; at least one
    style:  classes of the style sheet, for colour and dashes
    behind: the points before smoothing, drawn faintly
    """

    label: str
    points: Sequence[tuple[float, float]]
    style: str = ""
    behind: Sequence[tuple[float, float]] = ()


class Stack(NamedTuple):
    """One row of a stacked bar chart: (part, value, the value as people read it) from the left."""

    label: str
    parts: Sequence[tuple[str, float, str]]
    text: str


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


def style_sheet() -> str:
    """Return the style sheet that the charts and their pages are drawn with."""
    return importlib.resources.files(__package__).joinpath("style.css").read_text("utf-8")


def nice_axis(low: float, high: float, *, ticks: int = 5) -> Axis:
    """Return an axis that covers [low, high] with about `ticks` round numbers (steps 1, 2, 5)."""
    # Values that differ only by rounding are one value.
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / max(ticks - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    values = tuple(float(f"{i * step:.12g}") for i in range(first, last + 1))
    return Axis(values[0], values[-1], values)


def log_axis(low: float, high: float) -> Axis:
    """Return a logarithmic axis that covers [low, high], both positive, with ticks 1, 2, 5."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1
    # Over three decades the twos and fives would crowd.
    steps = (1,) if last - first > 4 else (1, 2, 5)
    values = [float(f"{m}e{k}") for k in range(first, last + 1) for m in steps]
    start = max((v for v in values if v <= low), default=values[0])
    end = min(v for v in values if v >= high and v > start)
    return Axis(start, end, tuple(v for v in values if start <= v <= end), math.log10)


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
    end = 100 * y.place(points[-1][1])
    return curves_chart(
        [Curve("", points)], title=title, unit=unit, y=y, text=text,
        marks=f'<span class="end" style="bottom:{end:.2f}%">{escape(text(points[-1][1]))}</span>')


def curves_chart(curves: Sequence[Curve], *, title: str, unit: str, y: Axis,
                 text: Callable[[float], str], x_title: str = "step",
                 x_text: Callable[[float], str] = count, marks: str = "") -> str:
    """Return lines over a common axis that begins at zero.

    Args:
        curves: what is drawn; at least one.
        title: what the lines show.
        unit: of the values.
        y: the vertical axis.
        text: how a value is written.
        x_title: what the horizontal axis counts.
        x_text: how a place on it is written.
        marks: markup laid over the plot.
    """
    x = step_axis(max(curve.points[-1][0] for curve in curves))
    grid = "".join(f"M0 {HEIGHT * (1 - y.place(t)):.1f}H{WIDTH}" for t in y.ticks)
    labels = tick_labels(y, decimals(y), "bottom") + tick_labels(x, x_text, "left")
    faint = "".join(drawn(c.behind, x, y, f"line faint {c.style}") for c in curves if c.behind)
    lines = "".join(drawn(c.points, x, y, f"line {c.style}".strip()) for c in curves)
    return (f'<figure class="chart"><figcaption><b>{escape(title)}</b> {escape(unit)}</figcaption>'
            f'<div class="plot" role="img" aria-label="{escape(f"{title}, {unit}: ")}'
            f'{escape("; ".join(said(c, text, x_title, x_text) for c in curves))}">'
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">'
            f'<path class="grid" d="{grid}"/>{faint}{lines}'
            f"{hovers(curves, x, text, x_title, x_text)}</svg>{labels}{marks}"
            f'</div><div class="x-title">{escape(x_title)}</div></figure>')


def drawn(points: Sequence[tuple[float, float]], x: Axis, y: Axis, style: str) -> str:
    """Return the path of a line."""
    places = [(WIDTH * x.place(a), HEIGHT * (1 - y.place(b))) for a, b in thin(points, POINTS)]
    path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
    return f'<path class="{escape(style)}" d="{path}"/>'


def said(curve: Curve, text: Callable[[float], str], x_title: str,
         x_text: Callable[[float], str]) -> str:
    """Return a line in words, for those who do not see it."""
    (first, low), (last, high) = curve.points[0], curve.points[-1]
    return (f"{curve.label} {text(low)} at {x_title} {x_text(first)}, "
            f"{text(high)} at {x_title} {x_text(last)}").strip()


def tick_labels(axis: Axis, text: Callable[[float], str], side: str) -> str:
    """Return the labels of an axis, placed in per cent from its start."""
    kind = "y" if side == "bottom" else "x"
    return "".join(f'<span class="{kind}" style="{side}:{100 * axis.place(t):.2f}%">'
                   f"{escape(text(t))}</span>" for t in axis.ticks)


def decimals(axis: Axis) -> Callable[[float], str]:
    """Return how the ticks of an axis are written: with as many decimals as their step needs."""
    if axis.scale is not float:
        return lambda x: f"{x:g}"
    step = axis.ticks[1] - axis.ticks[0] if len(axis.ticks) > 1 else 1.0
    places = max(0, -math.floor(math.log10(abs(step)) + 1e-9))
    return lambda x: count(x) if places == 0 else f"{x:,.{places}f}"


def hovers(curves: Sequence[Curve], x: Axis, text: Callable[[float], str], x_title: str,
           x_text: Callable[[float], str]) -> str:
    """Return invisible columns that tell place and values under the pointer."""
    places = sorted({a for curve in curves for a, _ in curve.points})
    some = places[::-(-len(places) // HOVERS)]
    edges = [0.0, *((x.place(a) + x.place(b)) / 2 for a, b in zip(some, some[1:], strict=False)),
             1.0]
    return "".join(
        f'<rect class="hover" x="{WIDTH * low:.1f}" width="{WIDTH * (high - low):.1f}" '
        f'height="{HEIGHT}"><title>{escape(f"{x_title} {x_text(place)}: ")}'
        f'{escape(values_at(curves, place, text))}</title></rect>'
        for place, low, high in zip(some, edges, edges[1:], strict=False))


def values_at(curves: Sequence[Curve], place: float, text: Callable[[float], str]) -> str:
    """Return the value of every curve that reaches a place, one a line."""
    found = []
    for curve in curves:
        i = bisect.bisect_right(curve.points, place, key=lambda point: point[0]) - 1
        if i >= 0 and place <= curve.points[-1][0]:
            value = text(curve.points[i][1])
            found.append(f"{curve.label}: {value}" if curve.label else value)
    return ("\n" if len(curves) > 1 else "") + "\n".join(found)


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


def stacked_chart(stacks: Sequence[Stack], *, label: str) -> str:
    """Return horizontal bars of parts, every bar as long as the others: shares of a whole."""
    names = dict.fromkeys(name for stack in stacks for name, value, _ in stack.parts if value)
    key = "".join(f'<li class="part-{escape(name)}">{escape(name.replace("_", " "))}</li>'
                  for name in names)
    rows = "".join(stacked_row(stack) for stack in stacks)
    return (f'<ul class="legend">{key}</ul>'
            f'<div class="bars" role="list" aria-label="{escape(label)}">{rows}</div>')


def stacked_row(stack: Stack) -> str:
    """Return one row: label, its parts with their shares under the pointer, value."""
    whole, left, rects = sum(value for _, value, _ in stack.parts) or 1.0, 0.0, ""
    for name, value, text in stack.parts:
        width = 100 * value / whole
        rects += (f'<rect class="part-{escape(name)}" x="{left:.3f}" width="{width:.3f}" '
                  f'height="10"><title>{escape(name.replace("_", " "))}: {escape(text)}, '
                  f"{escape(share(value, whole))}</title></rect>") if value else ""
        left += width
    return (f'<div class="bar stack" role="listitem"><span class="name">{escape(stack.label)}'
            f'</span><svg viewBox="0 0 100 10" preserveAspectRatio="none">{rects}</svg>'
            f'<span class="value">{escape(stack.text)}</span></div>')
