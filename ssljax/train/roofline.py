"""Predict the time and memory of a step from its shapes, a mesh and a chip's datasheet.

A roofline (Williams et al. 2009, https://doi.org/10.1145/1498765.1498785) with what a training step
adds to it. Of one step on one device,

    products  executed FLOPs / (EFFICIENCY x peak); full rematerialisation repeats the forward pass
    memory    bytes of elementwise work and of the optimizer / HBM bandwidth; not overlapped
    hidden    collectives that span data or fsdp: they carry weights and gradients, which are known
              early, and run beside the products; only what exceeds the products counts
    exposed   collectives along every other axis: they carry activations that the next product
              waits for
    bubble    (S - 1) / (M V + S - 1) of a pipeline of S stages, M microbatches and V rounds is idle

A group of devices that spans several nodes moves its bytes at the rate of the slower of its links
and of as many network adapters as it has members in a node. Everything here is arithmetic on plain
numbers: a thousand meshes a second.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from ssljax.core.collectives import Collective
from ssljax.core.sharding import BATCH
from ssljax.train.chips import Chip

# What large matrix products reach of a datasheet's peak inside a whole step: clocks under load,
# shapes that do not fill the tiles, attention kernels. One number for all chips, chosen so that
# the published runs in tools/bench/published.py are predicted best; no run of ours is in it.
EFFICIENCY = 0.54
LATENCY = 20e-6                  # seconds a collective costs however small it is
HIDDEN = ("data", "fsdp")
# Numbers that elementwise work of a block reads and writes for each that its products give: a
# Llama block gives 5 D + 2 F a position and moves about 42 D + 9 F forward and backward.
PASSES = 6.0
# Of what the products of a block give, how much the backward pass keeps, by remat. "none" also
# keeps norms and gates; "names" 4 D of about 10 D; "full" and "offload" D, and one block whole
# while it is repeated. "half" is torchtitan's default, which repeats every second product.
KEPT = {"none": 1.6, "dots": 1.0, "half": 0.6, "names": 0.4, "offload": 0.1, "full": 0.1}
# How much of the model's work is executed: "names" repeats all but queries, keys, values.
REPEATS = {"none": 1.0, "dots": 1.0, "half": 7 / 6, "names": 5 / 4, "offload": 5 / 4,
           "full": 4 / 3}


class Weight(NamedTuple):
    """One weight and how it is used in one step over the global batch.

    size:    parameters, all layers
    axes:    mesh axes of each dimension
    shape:   of the weight
    forward: operations of the forward pass
    taken:   numbers its products read beside it
    given:   numbers they return
    is_head: whether they are logits
    """

    size: int
    shape: tuple[int, ...]
    axes: tuple[tuple[str, ...], ...]
    forward: float
    taken: float
    given: float
    is_head: bool = False

    def sides(self) -> tuple[set[str], set[str]]:
        """Return the mesh axes on the dimensions that are summed over, and on those that stay.

        Dimensions are [layers..., in..., several..., out...]; a table that is also looked up has
        its output first, and queries, keys and values are several products of one weight. The order
        is read from fan-in and fan-out.
        """
        if not self.forward:
            return set(), set()
        fan_in, fan_out = (round(self.forward / (2 * n)) for n in (self.given, self.taken))
        dims = range(len(self.shape))
        for left, right in ((fan_in, fan_out), (fan_out, fan_in)):
            for low in dims[1:]:
                spans = [(i, j) for j in range(low, 0, -1) for i in range(j)
                         if math.prod(self.shape[i:j]) == left]
                if math.prod(self.shape[low:]) == right and spans:
                    first = set(sum(self.axes[slice(*spans[0])], ()))
                    last = set(sum(self.axes[low:], ()))
                    return (first, last) if left == fan_in else (last, first)
        return set(), set()


@dataclasses.dataclass(frozen=True)
class Workload:
    """One step over the global batch, before any mesh.

    weights:   all weights
    products:  operations of blocks and head, forward and backward
    attention: of products of activations, halved where causal
    logits:    fraction of the logits that is there at once; 0 where the loss is fused
    depth:     blocks
    itemsize:  bytes of a number in the forward and backward pass
    remat:     one of KEPT
    accumulate: microbatches of a step
    pipeline:  microbatches that fill a pipeline; 0 is as many as stages
    repeats:   rounds of a pipeline
    fp8:       of `products`, operations on eight bits
    chosen:    experts of a token
    """

    weights: tuple[Weight, ...]
    products: float
    attention: float
    logits: float
    depth: int
    itemsize: int
    remat: str = "none"
    accumulate: int = 1
    pipeline: int = 0
    repeats: int = 1
    fp8: float = 0.0
    chosen: int = 1

    @property
    def flops(self) -> float:
        """Return the model FLOPs of a step."""
        return self.products + self.attention


class Estimate(NamedTuple):
    """Seconds of a step by cause, and bytes on a device.

    seconds is the step; state holds parameters, optimizer state and gradients.
    """

    seconds: float
    products: float
    memory: float
    hidden: float
    exposed: float
    bubble: float
    state: float
    activations: float
    logits: float

    @property
    def bytes(self) -> float:
        """Return the bytes on a device."""
        return self.state + self.activations + self.logits


def estimate(work: Workload, sizes: Mapping[str, int], chip: Chip, *, state: float,
             moved: Iterable[Collective] | None = None) -> Estimate:
    """Return what one step would cost.

    Args:
        work: the step.
        sizes: every mesh axis and its size, slowest first.
        chip: the device.
        state: bytes of parameters, optimizer state and gradients on a device.
        moved: its collectives, where a compiler has listed them; the predicted ones unless told.
    """
    devices = math.prod(sizes.values())
    repeats = REPEATS[work.remat]
    peak = chip.bf16 if work.itemsize <= 2 else chip.fp32
    ideal = (work.flops - work.fp8) / peak + work.fp8 / (chip.fp8 or peak)
    products = ideal * repeats / devices / EFFICIENCY
    block = numbers(work, sizes, head=False)
    logits = numbers(work, sizes, head=True)
    traffic = PASSES * repeats * block * work.itemsize + 4 * logits * work.itemsize + 2 * state
    memory = traffic / chip.hbm
    moved = list(predicted_collectives(work, sizes) if moved is None else moved)
    hidden = sum(seconds(c, sizes, chip) for c in moved if is_hidden(c))
    exposed = sum(seconds(c, sizes, chip) for c in moved if not is_hidden(c))
    busy = max(products, hidden) + memory + exposed
    stages = sizes.get("stage", 1)
    bubble = busy * (stages - 1) / ((work.pipeline or stages) * work.repeats)
    kept = KEPT[work.remat] + (0 if work.remat == "none" else KEPT["none"] / work.depth)
    return Estimate(busy + bubble, products, memory, hidden, exposed, bubble, state,
                    kept * block * work.itemsize / work.accumulate,
                    work.logits * logits * (work.itemsize + 8) / work.accumulate)


def positions_over(sizes: Mapping[str, int]) -> int:
    """Return over how many devices the positions of a batch are split."""
    return math.prod(sizes.get(a, 1) for a in (*BATCH, "context"))


def numbers(work: Workload, sizes: Mapping[str, int], *, head: bool) -> float:
    """Return the numbers that products of blocks, or of the head, give on a device in a step."""
    total = 0.0
    for weight in work.weights:
        if weight.is_head == head:
            _, stay = weight.sides()
            total += weight.given / (sizes.get("tensor", 1) if "tensor" in stay else 1)
    return total / positions_over(sizes)


def predicted_collectives(work: Workload, sizes: Mapping[str, int]) -> list[Collective]:
    """Return what a step moves on one device, bytes of results, by the layouts of its weights."""
    found = [c for weight in work.weights for c in (
        *of_weight(weight, work, sizes), *of_activations(weight, work, sizes))]
    return [c._replace(axes=name, bytes=round(c.bytes)) for c in found
            if (name := "+".join(a for a in c.axes.split("+") if sizes.get(a, 1) > 1))]


def of_weight(weight: Weight, work: Workload, sizes: Mapping[str, int]) -> list[Collective]:
    """Return the collectives of one weight and its gradient, in the compute dtype.

    It is gathered over fsdp before each use and its gradient scattered after it; where it is whole
    along an axis that splits positions, its gradient is reduced along it: stacked over the layers,
    once a microbatch, and small ones together with others.
    """
    over, fsdp = set(sum(weight.axes, ())), sizes.get("fsdp", 1)
    parts = math.prod(sizes.get(a, 1) for a in over - {"fsdp"})
    local = weight.size * work.itemsize / parts * work.accumulate
    count, again = work.depth * work.accumulate, passes(work)
    whole = "+".join(a for a in sizes if a in (*BATCH, "context") and a not in over)
    reduced = Collective("all-reduce", whole, work.accumulate if weight.forward else 0,
                         local / (fsdp if "fsdp" in over else 1))
    if "fsdp" not in over:
        return [reduced]
    return [Collective("all-gather", "fsdp", again * count, again * local),
            Collective("reduce-scatter", "fsdp", count, local / fsdp), reduced]


def of_activations(weight: Weight, work: Workload, sizes: Mapping[str, int]) -> list[Collective]:
    """Return the collectives that the products with one weight need for their activations.

    Results are reduced over tensor where a product sums over it, gradients where it does not;
    tokens are gathered to the experts of a block and their results scattered back; keys and values
    are gathered over context.
    """
    summed, stay = weight.sides()
    count, again, rows = work.depth * work.accumulate, passes(work), positions_over(sizes)
    taken, given = (n * work.itemsize / rows for n in (weight.taken, weight.given))
    out = []
    if "tensor" in summed:
        out.append(Collective("all-reduce", "tensor", (again - 1) * count, (again - 1) * given))
    if "tensor" in stay:
        out.append(Collective("all-reduce", "tensor", count, taken))
    if "tensor" in summed and "expert" in set(sum(weight.axes, ())):
        tokens = again * given / work.chosen
        out += [Collective("all-gather", "expert", again * count,
                           tokens * sizes.get("expert", 1)),
                Collective("reduce-scatter", "expert", again * count, tokens)]
    if "tensor" in stay and len(weight.shape) > 3 and weight.shape[-3] == 3:       # [D, 3, H, K]
        keys = given * 2 / 3 * sizes.get("context", 1) / sizes.get("tensor", 1)
        out.append(Collective("all-gather", "context", again * count, again * keys))
    return out


def passes(work: Workload) -> int:
    """Return how often a weight is used in a step: forward, backward, and again with remat."""
    return 3 if REPEATS[work.remat] > 1 else 2


def is_hidden(moved: Collective) -> bool:
    """Say whether a collective can run beside the products: those that span data or fsdp carry
    weights and gradients, perhaps summed along other axes at once.
    """
    return not set(moved.axes.split("+")).isdisjoint(HIDDEN)


def seconds(moved: Collective, sizes: Mapping[str, int], chip: Chip) -> float:
    """Return the seconds of collectives on a ring; bytes are those of the results."""
    axes = tuple(a for a in moved.axes.split("+") if a in sizes)
    n = math.prod(sizes[a] for a in axes)
    if n == 1:
        return 0.0
    share = {"all-gather": (n - 1) / n, "reduce-scatter": n - 1, "all-reduce": 2 * (n - 1) / n,
             "all-to-all": (n - 1) / n}.get(moved.kind, 1.0)
    rate = bandwidth(axes, tuple(sizes.items()), chip)
    return moved.bytes * share / rate + moved.count * LATENCY


@functools.lru_cache(maxsize=4096)
def bandwidth(axes: tuple[str, ...], sizes: tuple[tuple[str, int], ...], chip: Chip) -> float:
    """Return the bytes a second that a group along mesh axes moves through each member."""
    shape = [n for _, n in sizes]
    index = tuple(slice(None) if name in axes else 0 for name, _ in sizes)
    group = np.arange(math.prod(shape)).reshape(shape)[index].reshape(-1)
    together = int((group // chip.node == group[0] // chip.node).sum())
    return chip.link if together == group.size else min(chip.link, together * chip.network)
