"""A linear classifier on a run's frozen features, for artefacts that classify.

The one `ssljax evaluate` judges by a "linear" evaluator: multinomial logistic regression on
standardised features (evals/linear.py), here kept instead of thrown away, as one affine map of the
network's pooled output.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ssljax.core.config import resolve
from ssljax.core.errors import ConfigError
from ssljax.core.types import PyTree
from ssljax.evals import bootstrap
from ssljax.evals.features import extractor, read
from ssljax.evals.labels import draw_labelled
from ssljax.evals.linear import learn
from ssljax.runs.build import cache_folder
from ssljax.runs.restore import Restored

BATCH = 256


class Head(NamedTuple):
    """A linear classifier.

    weights: {"w": f32 [D, classes], "b": f32 [classes]}
    facts:   for the manifest: "evaluator", "labelled" examples, "labels" by number, and "accuracy"
             on the evaluator's test images with its 95 % interval
    """

    weights: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def linear_head(restored: Restored, weights: PyTree, label: str) -> Head:
    """Return the classifier that an evaluator of the run's config asks for.

    Args:
        restored: the run.
        weights: its encoder's, {"params": ..., "stats": ... if any}.
        label: under evals in the config; of the kind "linear".

    Raises:
        ConfigError: there is no such evaluator.
        DataError: its data is missing, or has no labels.
    """
    specs = restored.config.get("evals") or {}
    kinds = [name for name, spec in specs.items() if spec["name"] == "linear"]
    if label not in kinds:
        raise ConfigError(f'The run\'s config has no linear evaluator "{label}"; it has '
                          f"{', '.join(kinds) or 'none'}. Add evals.{label} = dict(name=\"linear\","
                          " train_source=..., test_source=...).")
    spec, cache = specs[label], cache_folder(restored.config)
    train, test = (read(resolve("sources", spec[name], where=f"evals.{label}.{name}", cache=cache),
                        restored.pretext.plain) for name in ("train_source", "test_source"))
    extract = extractor(restored.model, spec.get("batch_size", BATCH))
    known, asked = (extract(weights["params"], weights.get("stats"), data.images)
                    for data in (train, test))
    few = spec.get("labels_per_class", 10)
    labelled = draw_labelled(train, per_class=few, draw=0) if few else np.arange(len(known))
    scores = learn(known, train.labels, labelled)
    value, (low, high) = bootstrap.ratio(scores(asked).argmax(1) == test.labels,
                                         np.ones(len(asked)))
    head = affine(scores, known.shape[1])
    names = [str(i) for i in range(len(head["b"]))]
    return Head(head, {"evaluator": label, "labelled": len(labelled), "labels": names,
                       "accuracy": {"value": value, "low": low, "high": high}})


def affine(scores: Any, width: int) -> dict[str, np.ndarray]:
    """Return {"w", "b"} of an affine map of `width` features, by what it makes of a basis."""
    origin = scores(np.zeros((1, width)))
    w = scores(np.eye(width)) - origin
    return {"w": w.astype(np.float32), "b": origin[0].astype(np.float32)}
