"""ssljax evaluate: judge a checkpoint, text beside xz, unigram and 5-gram baselines."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

EXAMPLES = """\
  ssljax evaluate quickstart/run                 the newest checkpoint
  ssljax evaluate quickstart/run --step 400      an earlier one
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run", metavar="RUN", help="the folder a run was trained in")
    parser.add_argument("--step", type=int, help="which checkpoint; default: the newest")


def run(args: argparse.Namespace) -> None:
    """Judge the run and print one table for each evaluator."""
    from rich.console import Console

    from ssljax.runs.evaluate import NAME, evaluate

    result = evaluate(args.run, step=args.step)
    console = Console()
    for label, judged in result["evals"].items():
        base = result["baselines"].get(label)
        title = f"{label}, step {result['step']:,}"
        rows = list(judged_rows(judged) if base is None else
                    text_rows(judged, base, result["against"][label]))
        console.print(table(title, rows))
        if base is not None:
            console.print(how(judged, base), style="dim")
    console.print(f"Kept in {args.run}/{NAME}; {result['seconds']:.1f} s.", style="dim")


def table(title: str, rows: list[tuple[str, ...]]) -> Any:
    """Return a rich table; the first row is its header, the first column its labels."""
    from rich.table import Table

    out = Table(title=title, title_justify="left", title_style="bold")
    for column, name in enumerate(rows[0]):
        out.add_column(name, justify="right" if 0 < column < 3 else "left")
    for row in rows[1:]:
        out.add_row(*row)
    return out


def text_rows(judged: Mapping[str, Any], base: Mapping[str, Any],
              against: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, ...]]:
    """Yield header, model and baselines: name, bits per byte, interval, what the model does."""
    from ssljax.runs.compare import BASELINES, verdict

    yield "", "bits per byte", "95 % interval", ""
    yield "model", *measurement(judged["bits_per_byte"]), ""
    for name, label in BASELINES.items():
        yield label, *measurement(base[name]), f"the model {verdict('it', against[name])}"


def judged_rows(judged: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield a header and one row for each figure of an evaluator."""
    yield "", "value", "95 % interval"
    for name, figure in judged.items():
        yield name.replace("_", " "), *measurement(figure)


def measurement(figure: Mapping[str, float | None]) -> tuple[str, str]:
    """Return a value and its interval as text; a dash for what could not be told."""
    value, low, high = (figure[k] for k in ("value", "low", "high"))
    if value is None:
        return "–", "–"
    if low is None or high is None:
        return f"{value:.3f}", "–"
    if low == value == high:
        return f"{value:,.10g}", ""
    return f"{value:.3f}", f"{low:.3f} – {high:.3f}"


def how(judged: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """Say what was judged and what the baselines learnt from."""
    n = {name: int(figure["value"]) for name, figure in judged.items()
         if name != "bits_per_byte" and figure["value"] is not None}
    return (f"{n['documents']:,} held-out documents, {n['bytes']:,} bytes, {n['targets']:,} "
            f"targets with the ends of documents; {n['cut_documents']:,} documents were cut into "
            f"windows of {n['window_targets']:,} targets with {n['window_overlap']:,} of context "
            f"repeated. N-grams learnt from {base['train_bytes']:,} of "
            f"{base['train_bytes_available']:,} training bytes; xz sees the held-out documents as "
            "one stream.")
