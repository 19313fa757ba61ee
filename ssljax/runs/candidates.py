"""Meshes that a step could run on, each with its predicted time and memory, best first."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import AXES, BATCH
from ssljax.runs.workload import Step
from ssljax.train.chips import Chip
from ssljax.train.roofline import Estimate, estimate

# Of a device's memory, what a step may use: the runtime, its libraries and fragments take the rest.
USABLE = 0.92


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A mesh for a step.

    sizes:      every mesh axis and its size
    accumulate: microbatches, as few as fit
    estimate:   predicted seconds and bytes
    fits:       whether the bytes are within the chip's memory
    """

    sizes: Mapping[str, int]
    accumulate: int
    estimate: Estimate
    fits: bool

    def order(self) -> tuple:
        """Return what candidates are sorted by: fits, then time, then simplicity."""
        return not self.fits, self.estimate.seconds, self.accumulate, len(used(self.sizes))


def used(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the axes that are larger than one."""
    return {a: n for a, n in sizes.items() if n > 1}


def factorisations(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to write `total` as an ordered product of `parts` numbers."""
    if parts == 1:
        yield (total,)
        return
    for first in (d for d in range(1, total + 1) if total % d == 0):
        for rest in factorisations(total // first, parts - 1):
            yield (first, *rest)


def obstacle(step: Step, sizes: Mapping[str, int], accumulate: int) -> str | None:
    """Return why a step cannot run on a mesh, or None."""
    ways = math.prod(sizes[a] for a in BATCH)
    unit = ways * accumulate
    if step.rows % unit:
        low = step.rows // unit * unit
        return (f"batch_size {step.rows} is not a multiple of {unit} ({ways} batch devices x "
                f"{accumulate} microbatches); use {f'{low} or ' if low else ''}{low + unit}")
    if sizes["context"] > 1 and (not step.seq_len or step.seq_len % sizes["context"]):
        return f"{step.seq_len} positions do not divide over {sizes['context']} devices of context"
    for field in step.state.values():
        for name, leaf in field.items():
            if found := leaf.obstacle(sizes):
                return f'weight "{name}" of shape {leaf.shape}: {found}'
    return None


def judge(step: Step, sizes: Mapping[str, int], chip: Chip, accumulate: int) -> Candidate:
    """Return a candidate with the predicted cost of a step."""
    work = dataclasses.replace(step.work, accumulate=accumulate)
    state = sum(step.state_bytes(sizes).values()) + step.batch_bytes(sizes)
    cost = estimate(work, sizes, chip, state=state)
    return Candidate(sizes, accumulate, cost, cost.bytes <= USABLE * chip.memory)


def least_accumulation(step: Step, sizes: Mapping[str, int], chip: Chip) -> Candidate | None:
    """Return the candidate with the fewest microbatches that fit, or those of the config where
    nothing does; None where the mesh cannot be.
    """
    first = step.work.accumulate
    if obstacle(step, sizes, first):
        return None
    most = step.rows // math.prod(sizes[a] for a in BATCH)
    trials = [first] if step.coupled else [
        n for n in range(first, most + 1) if most % n == 0]
    found = None
    for accumulate in trials:
        candidate = judge(step, sizes, chip, accumulate)
        found = found or candidate
        if candidate.fits:
            return candidate
    return found


def propose(step: Step, devices: int, chip: Chip) -> list[Candidate]:
    """Return every mesh that the shapes divide over, best first.

    An axis takes part if some weight is laid out along it (tensor, expert, stage), data and fsdp
    always, context for sequences. Tensor stays within a node.

    Raises:
        ConfigError: there is none.
    """
    along = step.axes() | {"data", "fsdp"} | ({"context"} if step.seq_len else set())
    axes = [a for a in AXES if a in along]
    found, why = [], ""
    for numbers in factorisations(devices, len(axes)):
        sizes = dict.fromkeys(AXES, 1) | dict(zip(axes, numbers, strict=True))
        if sizes["tensor"] > chip.node > 1:
            continue
        candidate = least_accumulation(step, sizes, chip)
        if candidate:
            found.append(candidate)
        elif not why:
            why = obstacle(step, sizes, step.work.accumulate) or ""
    if not found:
        raise ConfigError(f"No mesh of {devices} devices fits the shapes of this run; for example: "
                          f"{why}. Change batch_size, the widths or the number of devices.")
    return sorted(found, key=Candidate.order)


def given(step: Step, sizes: Mapping[str, int], chip: Chip) -> Candidate:
    """Return the candidate of a mesh that was asked for.

    Raises:
        ConfigError: the step cannot run on it.
    """
    if why := obstacle(step, sizes, step.work.accumulate):
        raise ConfigError(f"Mesh {used(sizes)} cannot hold this run: {why}.")
    return judge(step, sizes, chip, step.work.accumulate)


def overrides(candidate: Candidate, accumulate: int) -> Sequence[str]:
    """Return the arguments of `ssljax pretrain` that choose a candidate."""
    changed = [f"--config.mesh.{a}={n}" for a, n in candidate.sizes.items()]
    if candidate.accumulate != accumulate:
        changed.append(f"--config.accumulate={candidate.accumulate}")
    return changed
