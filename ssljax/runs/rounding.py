"""What rounding a run's weights to eight bits changes, on made-up and on held-out inputs."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ssljax.core.tree import count
from ssljax.core.types import Params, PyTree
from ssljax.export.quality import Figures
from ssljax.export.quantise import Kind, dense, is_packed, quantise
from ssljax.runs import evaluate
from ssljax.runs.evaluators import build_evaluators
from ssljax.runs.restore import Restored


def rounded(restored: Restored, weights: PyTree, kind: Kind, *, judge: bool,
            moved: Callable[[PyTree, PyTree], Figures]) -> tuple[PyTree, dict[str, Any]]:
    """Return quantised weights, and what the manifest says of them.

    Args:
        restored: the run.
        weights: its encoder's, float32 on the host.
        kind: "int8" or "fp8".
        judge: run the evaluators of the run's config on the rounded weights too.
        moved: (weights before, after) -> figures (export/quality.py).

    Returns:
        The weights, and "kind", "parameters" that were rounded, "bytes" and "bytes_before",
        "made_up" inputs' figures and, if judged, "held_out" {label: {figure: {"full",
        "rounded"}}}.
    """
    small = quantise(weights, kind)
    packed = [node for node in jax.tree.leaves(small, is_leaf=is_packed) if is_packed(node)]
    found = {"kind": kind, "parameters": sum(count(node) - node["scale"].size for node in packed),
             "bytes_before": nbytes(weights), "bytes": nbytes(small),
             "made_up": moved(weights, small)}
    return small, found | ({"held_out": held_out(restored, kind)} if judge else {})


def nbytes(tree: PyTree) -> int:
    """Return the bytes of all arrays."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def held_out(restored: Restored, kind: Kind) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return every figure of the run's evaluators before and after, by label and name."""
    def judged(params: Params, extra: PyTree) -> dict[str, Any]:
        return {label: evaluate.as_data(evaluator.run(params, extra))
                for label, evaluator in build_evaluators(restored.config, restored).items()}

    def through(tree: PyTree) -> PyTree:
        host = jax.tree.map(np.asarray, jax.device_get(tree))
        return jax.tree.map(np.asarray, dense(quantise(host, kind)))

    known = evaluate.read(restored.path)["steps"].get(str(restored.step))
    full = known["evals"] if known else judged(restored.params, restored.extra)
    after = judged(through(restored.params), through(restored.extra))
    return {label: {name: {"full": figure["value"], "rounded": after[label][name]["value"]}
                    for name, figure in figures.items() if name in after.get(label, {})}
            for label, figures in full.items()}
