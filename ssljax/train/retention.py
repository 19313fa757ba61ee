"""Which checkpoints stay: the newest, every so many steps, and the best by a judgement."""

import dataclasses
import math
from collections.abc import Mapping

from ssljax.core.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Retention:
    """A rule of what stays.

    latest: how many of the newest
    every:  steps; multiples of it stay for ever, 0 keeps none
    best:   name of a judgement such as "bits_per_byte/model", "" keeps none; with "-" in front
            higher is better
    """

    latest: int = 3
    every: int = 0
    best: str = ""

    def kept(self, steps: Mapping[int, Mapping[str, float]]) -> set[int]:
        """Return the steps that stay, of {step: its judgements}."""
        newest = sorted(steps)[-self.latest:]
        marks = {s for s in steps if self.every and s % self.every == 0}
        return {*newest, *marks, *self._best(steps)}

    def _best(self, steps: Mapping[int, Mapping[str, float]]) -> set[int]:
        if not self.best:
            return set()
        sign, name = (-1, self.best[1:]) if self.best.startswith("-") else (1, self.best)
        judged = {step: sign * metrics[name] for step, metrics in steps.items()
                  if math.isfinite(metrics.get(name, math.nan))}
        # Of equals the older one stays: it is no worse, and was there first.
        return {min(judged, key=lambda s: (judged[s], s))} if judged else set()


def check_best(best: str, judgements: Mapping[str, int], checkpoint_steps: int) -> None:
    """Raise ConfigError if checkpoints can never be compared by `best`.

    Args:
        best: as in Retention.
        judgements: label of an evaluator -> steps between its judgements.
        checkpoint_steps: steps between checkpoints.
    """
    label = best.removeprefix("-").partition("/")[0]
    if best and label not in judgements:
        raise ConfigError(f'keep_best = "{best}" names no evaluator of this run; expected '
                          f'"LABEL/NAME" with LABEL one of {sorted(judgements) or "(none)"}.')
    if best and (not judgements[label] or checkpoint_steps % judgements[label]):
        raise ConfigError(f'keep_best = "{best}" needs a judgement at every checkpoint: '
                          f"evals.{label}.every = {judgements[label]} must divide "
                          f"checkpoint_steps = {checkpoint_steps}.")
