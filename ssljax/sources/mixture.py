"""Several sources by weight, with weights that may change at given steps.

    source = dict(name="mixture",
                  parts=dict(web=dict(source=dict(name="token_shards", path=...), weight=0.7),
                             code=dict(source=dict(name="token_shards", path=...), weight=0.3)),
                  stages=[dict(step=500, weights=dict(web=0.4, code=0.6))])

Weights count rows of batches; where rows are packed they are full, so shares of tokens follow.
Each part is filtered, packed and shuffled on its own and has epochs of its own. Holds the parts and
weights; data/mixture.py decides which row is whose. Read by index it is the parts end to end.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from ssljax.core.errors import ConfigError, nearest
from ssljax.core.source import Record, Source


class Part(TypedDict):
    """A source and its weight until the first stage; weights need not sum to one."""

    source: Source
    weight: float


class Stage(TypedDict):
    """Weights from a step on; parts not named get none."""

    step: int
    weights: Mapping[str, float]


def make(*, parts: Mapping[str, Part], stages: Sequence[Stage] = ()) -> Source:
    """Return the mixture.

    Raises:
        ConfigError: an unknown part, a bad weight, a part that is a mixture, or steps that do not
            increase from above 0.
    """
    if not parts:
        raise ConfigError("mixture.parts is empty; expected name -> dict(source=..., weight=...).")
    for name, part in parts.items():
        refuse_mixture(part["source"], f'mixture.parts "{name}"')
    first = {name: part["weight"] for name, part in parts.items()}
    weights = [(0, first), *((s["step"], s["weights"]) for s in stages)]
    for (before, _), (step, _) in zip(weights, weights[1:]):
        if step <= before:
            raise ConfigError(f"mixture.stages has step {step} after step {before}; expected steps "
                              "that increase, from above 0 (the parts' own weights come first).")
    return Mixture({name: part["source"] for name, part in parts.items()},
                   tuple((step, shares(step, w, list(parts))) for step, w in weights))


def refuse_mixture(source: object, where: str) -> None:
    """Raise ConfigError if a source that reads records end to end was given weights to ignore."""
    if isinstance(source, Mixture):
        raise ConfigError(f"{where} holds a mixture, whose weights would be lost; make the mixture "
                          "the outermost source, and filter or tokenise each of its parts.")


def shares(step: int, weights: Mapping[str, float], parts: Sequence[str]) -> tuple[float, ...]:
    """Return the weight of each part, summing to one.

    Raises:
        ConfigError: they cannot be weights.
    """
    for name, weight in weights.items():
        if name not in parts:
            raise ConfigError(f'mixture at step {step} names the part "{name}"; '
                              f"{nearest(name, parts)}")
        if not 0 <= weight < math.inf:
            raise ConfigError(f'mixture at step {step} gives "{name}" the weight {weight}; '
                              "expected a number from 0.")
    total = sum(weights.values())
    if not total:
        raise ConfigError(f"mixture at step {step} has no weight above 0.")
    return tuple(weights.get(name, 0) / total for name in parts)


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Parts, and their weights by stage.

    parts:  name -> source
    stages: (first step, weight of each part) of each, from step 0
    """

    parts: Mapping[str, Source]
    stages: tuple[tuple[int, tuple[float, ...]], ...]

    def __len__(self) -> int:
        """Return the number of records of all parts."""
        return sum(map(len, self.parts.values()))

    def read(self, indices: np.ndarray) -> list[Record]:
        """Return the records at `indices` of the parts end to end."""
        sources = list(self.parts.values())
        starts = np.cumsum([0, *map(len, sources)])
        where = np.searchsorted(starts, indices, side="right") - 1
        return [sources[part].read(np.array([i - starts[part]]))[0]
                for part, i in zip(where, indices, strict=True)]

    def lengths(self) -> np.ndarray:
        """Return the number of tokens of each record, where every part knows them."""
        return np.concatenate([part.lengths() for part in self.parts.values()])

    def fingerprint(self) -> Mapping[str, str]:
        """Return the parts' fingerprints, each field under "part.field"."""
        return {f"{name}.{field}": value for name, part in self.parts.items()
                for field, value in part.fingerprint().items()}

    @property
    def tokenizer_path(self) -> str:
        """Return the path of the first part's tokenizer.json; a run's parts share one."""
        return next(iter(self.parts.values())).tokenizer_path

    @property
    def text_bytes(self) -> int:
        """Return the UTF-8 bytes of the text of all parts."""
        return sum(part.text_bytes for part in self.parts.values())
