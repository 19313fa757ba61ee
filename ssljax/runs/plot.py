"""Curves, figures, configs and wall time of runs side by side: one HTML file without scripts.

Reads what runs leave in their folders; needs no network, neither to write the file nor to read it.
Free of jax.
"""

import datetime
import pathlib
from collections.abc import Callable, Mapping, Sequence
from html import escape

from ssljax.core.charts import Curve, Stack, curves_chart, log_axis, nice_axis, stacked_chart
from ssljax.core.errors import ConfigError
from ssljax.core.files import write_atomic
from ssljax.core.wording import MISSING, count, digits, duration, share
from ssljax.runs.config import flatten
from ssljax.runs.curves import (
    AXES,
    Logged,
    Points,
    choose_metrics,
    curve,
    differences,
    load_runs,
    smooth,
)
from ssljax.runs.page import fill, section, table
from ssljax.train.ledger import BUCKETS, total_seconds

COLOURS = 6                 # of the style sheet; further runs are dashed
X_TEXT: Mapping[str, Callable[[float], str]] = {"step": count, "tokens": count,
                                                "seconds": duration}


def plot(folders: Sequence[pathlib.Path], out: pathlib.Path, *, metrics: Sequence[str] = (),
         weight: float = 0.0, axis: str = "step", log: bool = False) -> None:
    """Write the comparison of runs to `out`.

    Args:
        folders: of the runs.
        out: the HTML file.
        metrics: names or patterns such as "grad_norm/*"; () for the usual ones.
        weight: of the past in the smoothed lines, 0 to below 1.
        axis: "step", "tokens" or "seconds".
        log: whether values are drawn on a logarithmic axis.

    Raises:
        DataError: a folder is not a run, or holds nothing.
        ConfigError: no run logged a metric, or an option cannot be.
    """
    if not 0 <= weight < 1:
        raise ConfigError(f"--smooth {weight}; expected 0 (none) to below 1, such as 0.9.")
    if axis not in AXES:
        raise ConfigError(f'--x {axis}; expected one of {", ".join(AXES)}.')
    runs = load_runs(folders)
    drawn = {name: [curve(run, name, axis) for run in runs]
             for name in choose_metrics(runs, metrics)}
    write_atomic(out, compared(runs, drawn, weight=weight, axis=axis, log=log).encode())


def compared(runs: Sequence[Logged], drawn: Mapping[str, Sequence[Points]], *, weight: float,
             axis: str, log: bool) -> str:
    """Return the page: curves, their figures, what differs in the configs, the wall time."""
    charts = "".join(chart(runs, name, lines, weight=weight, axis=axis, log=log)
                     for name, lines in drawn.items())
    values = "".join(f"<h3>{escape(name)}</h3>" + values_table(runs, lines, axis)
                     for name, lines in drawn.items())
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    sections = (section("Curves", f'<div class="charts">{charts}</div>{drawn_how(weight, log)}'),
                section("Last, lowest and highest values", values),
                section("What differs in the configs", config_table(runs)),
                section("Where the time went", spent(runs)))
    return fill("plot.html", brand=escape(f"ssljax plot, {now}"),
                headline=escape(headline(runs, drawn)), legend=legend(runs),
                sections="\n".join(s for s in sections if s))


def style_of(i: int) -> str:
    """Return the style classes of the i-th run."""
    dashes = min(i // COLOURS, 2)
    return f"c{i % COLOURS}" + (f" d{dashes}" if dashes else "")


def legend(runs: Sequence[Logged]) -> str:
    """Return the name of each run beside its line."""
    items = "".join(f'<li><svg viewBox="0 0 26 10"><line class="{style_of(i)}" x1="0" x2="26" '
                    f'y1="5" y2="5"/></svg>{escape(run.label)}</li>'
                    for i, run in enumerate(runs))
    return f'<ul class="legend">{items}</ul>'


def headline(runs: Sequence[Logged], drawn: Mapping[str, Sequence[Points]]) -> str:
    """Return the comparison in one sentence."""
    last = {run.label: line[-1][1] for run, line in zip(runs, drawn.get("loss", ()), strict=False)
            if line}
    if len(runs) == 1:
        found = f": the last logged loss is {figure(*last.values())}" if last else ""
        return f"{runs[0].label}{found}."
    if len(last) < 2:
        return f"{len(runs)} runs compared."
    best = min(last, key=last.__getitem__)
    same_method = len({run.config.get("objective", {}).get("name") for run in runs}) == 1
    if not same_method:
        # Losses of different objectives are in different units.
        return f"{len(runs)} runs of several objectives, whose losses do not compare."
    return f"Of {len(runs)} runs, {best} has the lowest last loss: {figure(last[best])}."


def drawn_how(weight: float, log: bool) -> str:
    """Say what was done to the lines."""
    said = ([f"Lines are exponential moving averages of weight {weight:g}; what was logged is "
             "drawn faintly behind them. Lines of few points are as they were logged."]
            if weight else []) + (
        ["Values are on a logarithmic axis; zero and below cannot be drawn."] if log else [])
    return f'<p class="note">{escape(" ".join(said))}</p>' if said else ""


def chart(runs: Sequence[Logged], name: str, lines: Sequence[Points], *, weight: float, axis: str,
          log: bool) -> str:
    """Return the chart of a metric; runs that did not log it are named below."""
    curves = []
    for i, (run, line) in enumerate(zip(runs, lines, strict=True)):
        kept = [(x, value) for x, value in line if value > 0 or not log]
        if kept:
            # An average over fewer points than it spans would show its own start-up.
            smoothed = weight and len(kept) * (1 - weight) > 2
            curves.append(Curve(run.label, smooth(kept, weight) if smoothed else kept,
                                style_of(i), kept if smoothed else ()))
    absent = [run.label for run, line in zip(runs, lines, strict=True) if not line]
    note = f'<p class="missing">not logged by {escape(", ".join(absent))}</p>' if absent else ""
    if not curves:
        return f"<figure class='chart'><b>{escape(name)}</b><p>nothing to draw</p>{note}</figure>"
    values = [y for c in curves for _, y in (*c.points, *c.behind)]
    y_axis = (log_axis if log else nice_axis)(min(values), max(values))
    drawing = curves_chart(curves, title=name, unit="", y=y_axis, text=figure, x_title=axis,
                           x_text=X_TEXT[axis])
    return f"<div>{drawing}{note}</div>"


def figure(x: float) -> str:
    """Return a value with four digits that matter, whatever its size."""
    if x and abs(x) < 1e-3:
        return f"{x:.3e}"
    return digits(x, 4) if abs(x) < 100_000 else count(x)


def values_table(runs: Sequence[Logged], lines: Sequence[Points], axis: str) -> str:
    """Return last, lowest and highest value of a metric in each run, as logged, and where."""
    rows = []
    for run, line in zip(runs, lines, strict=True):
        if not line:
            rows.append((run.label, *(MISSING,) * 6))
            continue
        picked = (line[-1], min(line, key=lambda p: p[1]), max(line, key=lambda p: p[1]))
        rows.append((run.label, *(text for x, value in picked
                                  for text in (figure(value), X_TEXT[axis](x)))))
    head = ("", *(text for name in ("last", "lowest", "highest")
                  for text in (name, f"at {axis}")))
    return f'<div class="wide">{table(head, rows)}</div>'


def config_table(runs: Sequence[Logged]) -> str:
    """Return the config keys that differ between runs, and their values."""
    if len(runs) == 1:
        return ""
    found = differences([flatten(run.config) for run in runs])
    if not found:
        return "<p>Nothing: the configs are the same.</p>"
    rows = [(key, *(MISSING if v is None else str(v) for v in values))
            for key, values in found.items()]
    return f'<div class="wide">{table(("", *(run.label for run in runs)), rows)}</div>'


def spent(runs: Sequence[Logged]) -> str:
    """Return where the wall time of each run went, all attempts together."""
    kept = {run.label: total_seconds(list(run.ledger)) for run in runs if run.ledger}
    kept = {label: seconds for label, seconds in kept.items() if sum(seconds.values())}
    if not kept:
        return ""
    stacks = [Stack(label, [(b, seconds[b], duration(seconds[b])) for b in BUCKETS],
                    f"goodput {share(seconds['step'], sum(seconds.values()))}")
              for label, seconds in kept.items()]
    rows = [(label, duration(sum(s.values())), *(duration(s[b]) for b in BUCKETS))
            for label, s in kept.items()]
    head = ("", "in all", *(b.replace("_", " ") for b in BUCKETS))
    note = ("Steps that a restart repeated are lost; down is the time without a process. Goodput "
            "is the share of steps that count.")
    return (f'{stacked_chart(stacks, label="seconds by bucket")}'
            f'<p class="note">{note}</p><div class="wide">{table(head, rows)}</div>')
