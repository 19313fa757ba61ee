"""From what clients saw to rows of the report: rates, percentiles, CPU, ratios."""

import base64
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rounds import row

Runs = Sequence[Mapping[str, Any]]         # what serve_load.py prints, with "cpu"; one a round
Figures = dict[str, float]

# (metric, unit, whether more is better)
TEXT = (("tokens a second", "tokens/s", True), ("first token, p50", "ms", False),
        ("first token, p99", "ms", False), ("a token after the first, p50", "ms", False),
        ("a token after the first, p99", "ms", False), ("whole answer, p50", "ms", False),
        ("whole answer, p99", "ms", False), ("CPU a thousand tokens", "CPU-s", False))
IMAGES = (("images a second", "1/s", True), ("answer, p50", "ms", False),
          ("answer, p99", "ms", False), ("CPU an image", "CPU-ms", False))


def failures(runs: Runs) -> str:
    """Return what went wrong in some requests; empty if nothing."""
    bad = [a for run in runs for a in run["answers"] if a["status"] != 200]
    return f"{len(bad)} failed, status {bad[0]['status']}: {bad[0]['text'][:160]}" if bad else ""


def text_figures(runs: Runs) -> Figures:
    """Return the metrics of TEXT: rates are medians over rounds, percentiles over all requests."""
    answers = [a for run in runs for a in run["answers"]]
    tokens = [sum(a["tokens"] for a in run["answers"]) for run in runs]
    gaps = [1000 * (a["last"] - a["first"]) / (a["tokens"] - 1) for a in answers
            if a["tokens"] > 1]
    first = [1000 * a["first"] for a in answers]
    whole = [1000 * a["seconds"] for a in answers]
    return dict(zip((name for name, _, _ in TEXT), (
        statistics.median(n / run["seconds"] for n, run in zip(tokens, runs, strict=True)),
        *percentiles(first), *percentiles(gaps), *percentiles(whole),
        1000 * sum(run["cpu"] for run in runs) / sum(tokens)), strict=True))


def image_figures(runs: Runs) -> Figures:
    """Return the metrics of IMAGES."""
    whole = [1000 * a["seconds"] for run in runs for a in run["answers"]]
    return dict(zip((name for name, _, _ in IMAGES), (
        statistics.median(len(run["answers"]) / run["seconds"] for run in runs),
        *percentiles(whole), 1000 * sum(run["cpu"] for run in runs) / len(whole)), strict=True))


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    if not values:
        return 0.0, 0.0
    return float(np.percentile(values, 50)), float(np.percentile(values, 99))


def compared(case: str, found: Mapping[str, Runs], whys: Mapping[str, str],
             metrics: Sequence[tuple[str, str, bool]],
             figures: Callable[[Runs], Figures]) -> list[dict[str, Any]]:
    """Return the rows of one scenario: ours beside each peer, or why a peer has none."""
    whys = {name: failures(runs) for name, runs in found.items() if failures(runs)} | dict(whys)
    known = {name: figures(runs) for name, runs in found.items() if name not in whys}
    ours = known.get("ours", {})
    peers = [name for name in (*found, *whys) if name != "ours"] or [""]
    return [line(case, metric, unit, ours.get(metric), known.get(peer, {}).get(metric), peer,
                 whys.get(peer) or whys.get("ours", "no peer"), more=more)
            for peer in dict.fromkeys(peers) for metric, unit, more in metrics]


def line(case: str, metric: str, unit: str, ours: float | None, peer: float | None, name: str,
         why: str = "", *, more: bool) -> dict[str, Any]:
    """Return a row whose ratio is above 1 where ours is better, be more better or less."""
    made = row(case, metric, unit, ours, peer, name, why)
    return made if more or made["ratio"] is None else {**made, "ratio": 1 / made["ratio"]}


def same_texts(case: str, found: Mapping[str, Runs]) -> list[dict[str, Any]]:
    """Return which fraction of greedy answers is the same text as ours: the weights are."""
    if "ours" not in found:
        return []
    texts = {name: [a["text"] for a in runs[0]["answers"]] for name, runs in found.items()}
    return [row(case, "answers that are ours, letter by letter", "fraction",
                statistics.mean(a == b for a, b in zip(texts["ours"], theirs, strict=True)), None,
                name, "rounding may turn a close choice")
            for name, theirs in texts.items() if name != "ours"]


def largest_difference(case: str, found: Mapping[str, Runs]) -> list[dict[str, Any]]:
    """Return how far a peer's vectors are from ours, of the largest number in them."""
    if not {"ours"} < found.keys() or any(map(failures, found.values())):
        return []

    def vectors(runs: Runs) -> np.ndarray:
        return np.stack([np.frombuffer(base64.b64decode(
            json.loads(a["text"])["data"][0]["embedding"]), np.float32)
            for a in runs[0]["answers"]])

    ours = vectors(found["ours"])
    return [row(case, "largest difference of vectors", "fraction",
                float(np.abs(vectors(runs) - ours).max() / np.abs(ours).max()), None, name,
                "same weights") for name, runs in found.items() if name != "ours"]
