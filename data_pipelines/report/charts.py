"""Histograms and bars of the page, as HTML with inline SVG, in the manner of core/charts.py."""

from collections.abc import Sequence
from html import escape

import numpy as np

from data_pipelines.report.statistics import Histogram
from ssljax.core.charts import HEIGHT, WIDTH, Axis, decimals, log_axis, nice_axis, tick_labels
from ssljax.core.wording import count, digits, share, size

GAP = 0.08                     # of a bin's width


def histogram_chart(histogram: Histogram, *, title: str, note: str = "") -> str:
    """Return kept rows, and dropped rows on top of them, by value; nothing without rows."""
    rows = histogram.kept + histogram.dropped
    filled = np.flatnonzero(rows)
    if not len(filled):
        return ""
    low, high = filled[0], filled[-1] + 1
    edges = histogram.edges[low:high + 1]
    kept, dropped = histogram.kept[low:high], histogram.dropped[low:high]
    x, y = value_axis(edges, histogram.logarithmic), nice_axis(0, float(rows.max()), ticks=4)
    bins = "".join(bar(*at) for at in zip(places(edges, x), places(edges[1:], x), kept, dropped,
                                          edges, edges[1:], [y] * len(kept), strict=False))
    grid = "".join(f"M0 {HEIGHT * (1 - y.place(t)):.1f}H{WIDTH}" for t in y.ticks)
    said = (f"{title}: {count(float(kept.sum()))} kept and {count(float(dropped.sum()))} dropped "
            f"rows, from {digits(float(edges[0]))} to {digits(float(edges[-1]))}")
    labels = tick_labels(y, count, "bottom") + tick_labels(
        x, count if histogram.logarithmic else decimals(x), "left")
    return (f'<figure class="chart"><figcaption><b>{escape(title)}</b> {escape(note)}</figcaption>'
            f'<div class="plot" role="img" aria-label="{escape(said)}">'
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">'
            f'<path class="grid" d="{grid}"/>{bins}</svg>{labels}</div></figure>')


def value_axis(edges: np.ndarray, logarithmic: bool) -> Axis:
    """Return an axis that ends where the bins do, with round ticks inside."""
    low, high = float(edges[0]), float(edges[-1])
    if logarithmic:
        start = low or float(edges[1])
        # Ticks closer than a factor of ten would run into each other on a phone.
        ticks = [t for t in log_axis(start, high).ticks if start <= t <= high]
        tens = [t for t in ticks if np.isclose(np.log10(t) % 1, 0)]
        return Axis(start, high, tuple(tens if len(tens) > 1 else ticks), np.log10)
    ticks = tuple(t for t in nice_axis(low, high).ticks if low <= t <= high)
    return Axis(low, high, ticks or (low, high))


def places(edges: np.ndarray, x: Axis) -> list[float]:
    """Return where edges lie, 0 to 1; a bin from zero begins where a logarithmic axis does."""
    return [x.place(max(float(e), x.low)) for e in edges]


def bar(left: float, right: float, kept: int, dropped: int, low: float, high: float,
        y: Axis) -> str:
    """Return one bin: kept below, dropped above, figures under the pointer."""
    gap = GAP * (right - left)
    at, width, drawn, base = WIDTH * (left + gap / 2), WIDTH * (right - left - gap), "", 0.0
    for name, rows in (("kept", kept), ("dropped", dropped)):
        tall = HEIGHT * rows / y.high
        drawn += (f'<rect class="{name}" x="{at:.1f}" y="{HEIGHT - base - tall:.1f}" '
                  f'width="{width:.1f}" height="{tall:.1f}"/>') if rows else ""
        base += tall
    words = (f"{digits(low)} to {digits(high)}: {count(float(kept))} kept, "
             f"{count(float(dropped))} dropped")
    return (f'<g>{drawn}<rect class="hover" x="{WIDTH * left:.1f}" '
            f'width="{WIDTH * (right - left):.1f}" height="{HEIGHT}"><title>{escape(words)}</title>'
            f"</rect></g>")


def shares_bar(parts: Sequence[tuple[str, float]], whole: float) -> str:
    """Return one bar of parts, (class, value), on the scale of a whole."""
    left, drawn = 0.0, ""
    for name, value in parts:
        width = 100 * value / (whole or 1)
        drawn += (f'<rect class="{escape(name)}" x="{left:.3f}" width="{width:.3f}" height="10"/>'
                  if value else "")
        left += width
    return (f'<svg class="strip" viewBox="0 0 100 10" preserveAspectRatio="none" '
            f'aria-hidden="true">{drawn}</svg>')


def names_table(rows: Sequence[tuple[str, tuple[int, int, int]]], *, head: str) -> str:
    """Return a table of names with rows kept and dropped, a bar each, and bytes kept."""
    most = max((k + d for _, (k, d, _) in rows), default=0)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        f'<td class="bar-cell">{shares_bar((("kept", k), ("dropped", d)), most)}</td>'
        f"<td>{count(k)}</td><td>{count(d)}</td><td>{share(k, k + d)}</td><td>{size(b)}</td></tr>"
        for name, (k, d, b) in rows)
    return (f'<div class="wide"><table class="figures"><thead><tr><th scope="col">{escape(head)}'
            '</th><td class="bar-cell"></td><th scope="col">kept</th><th scope="col">dropped</th>'
            '<th scope="col">share kept</th><th scope="col">text kept</th></tr></thead>'
            f"<tbody>{body}</tbody></table></div>")
