"""A run's step as the planner sees it: from a config to shapes, layouts and model FLOPs.

Everything comes from tracing: nothing is compiled, no data is read, no weight is made.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh

from ssljax.core.products import Use
from ssljax.core.sharding import AXES, BATCH
from ssljax.core.tree import named_leaves
from ssljax.core.types import TrainState
from ssljax.runs.build import Method
from ssljax.train.flops import Flops, is_head, step_products, summarise
from ssljax.train.layout import over_data
from ssljax.train.roofline import KEPT, Weight, Workload
from ssljax.train.state import state_shardings

Dims = tuple[tuple[str, ...], ...]             # mesh axes of each dimension


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One array of the state: its shape, bytes of a number, mesh axes of each dimension, and
    whether ZeRO-1 would split it over data as well.
    """

    shape: tuple[int, ...]
    itemsize: int
    axes: Dims
    matrix: bool = False

    def bytes(self, sizes: Mapping[str, int], *, zero1: bool = False) -> int:
        """Return its bytes on one device of a mesh."""
        axes = over_data(self.axes, self.shape, sizes) if zero1 and self.matrix else self.axes
        ways = math.prod(sizes[a] for dim in axes for a in dim)
        return math.prod(self.shape) * self.itemsize // ways

    def obstacle(self, sizes: Mapping[str, int]) -> str | None:
        """Return why a mesh cannot hold it, or None."""
        for size, dim in zip(self.shape, self.axes, strict=True):
            ways = math.prod(sizes[a] for a in dim)
            if size % ways:
                return f"{size} does not divide over {ways} devices of mesh axis {'+'.join(dim)}"
        return None


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a run, before any mesh.

    work:    for the roofline
    flops:   of the model
    state:   field of the state -> name -> array
    batch:   bytes of a global batch
    rows:    of the global batch
    units:   tokens or images of a global batch
    unit:    which
    seq_len: positions of a row; 0 where the rows are no sequences
    coupled: whether microbatches would change the loss
    zero1:   whether the optimizer's state and the gradients are split over data too
    """

    work: Workload
    flops: Flops
    state: Mapping[str, Mapping[str, Leaf]]
    batch: int
    rows: int
    units: int
    unit: str
    seq_len: int
    coupled: bool
    zero1: bool = False

    def axes(self) -> set[str]:
        """Return the mesh axes that some weight is laid out along."""
        return {a for leaf in self.state["params"].values() for dim in leaf.axes for a in dim}

    def state_bytes(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return bytes of each part of the state on one device, and of its gradients."""
        def held(*fields: str, zero1: bool = False) -> int:
            return sum(leaf.bytes(sizes, zero1=zero1)
                       for field in fields for leaf in self.state[field].values())

        others = self.state.keys() - {"params", "opt_state"}
        return {"parameters": held("params"), "optimizer": held("opt_state", zero1=self.zero1),
                "other": held(*others), "gradients": held("params", zero1=self.zero1)}

    def batch_bytes(self, sizes: Mapping[str, int]) -> int:
        """Return the bytes of a global batch on one device."""
        return self.batch // math.prod(sizes[a] for a in BATCH)


def leaves_of(shapes: Any, layout: Any, matrices: set[str]) -> dict[str, Leaf]:
    """Return name -> Leaf of a tree of shapes and its tree of shardings; `matrices` are names of
    weights of two or more dimensions.
    """
    specs = named_leaves(layout)
    out = {}
    for name, x in named_leaves(shapes).items():
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.eval_shape(jax.random.key_data, x)
        dims = [(a,) if isinstance(a, str) else tuple(a or ()) for a in specs[name].spec]
        dims += [()] * (len(x.shape) - len(dims))
        out[name] = Leaf(x.shape, x.dtype.itemsize, tuple(dims),
                         name.rpartition("/")[2] in matrices)
    return out


def largest_part(uses: list[Use]) -> float:
    """Return what fraction of the logits is there at once: all, or a chunk of a fused loss."""
    given = sum(use.given for use in uses)
    return sum(use.largest for use in uses) / given if given else 0.0


def describe_step(config: Mapping[str, Any], method: Method) -> Step:
    """Return one step of a plain config."""
    spec, rows = method.pretext.spec, config["batch_size"]
    shapes: TrainState = jax.eval_shape(method.init, method.key)
    # A mesh of ones names the axes of every array and refuses no shape.
    ones = AbstractMesh((1,) * len(AXES), AXES)
    layout = state_shardings(shapes, ones, method.layout)
    matrices = {name for name, axes in method.layout.table.items() if len(axes) > 1}
    state = {field: leaves_of(getattr(shapes, field), getattr(layout, field), matrices)
             for field in TrainState._fields}
    products, params = step_products(method.objective, method.pretext.views, spec, rows,
                                     key=method.key)
    seq_len = spec["tokens"][0][0] if "tokens" in spec and "image" not in spec else 0
    units = rows * (seq_len or 1)
    sizes = {name: x.size for name, x in named_leaves(params).items()}
    flops = summarise(products, sizes, units, causal=method.model.init_cache is not None)
    weights = []
    for name, leaf in state["params"].items():
        use = products.uses.get(name)
        used = (use.forward, use.taken, use.given) if use else (0.0, 0.0, 0.0)
        weights.append(Weight(sizes[name], leaf.shape, leaf.axes, *used,
                              is_head(name, products)))
    remat = config["model"].get("remat", "none")
    work = Workload(
        tuple(weights), flops.blocks + flops.head, flops.attention,
        logits=largest_part([products.uses[n] for n in products.uses if is_head(n, products)]),
        depth=config["model"].get("depth", 12),
        itemsize=2 if config["compute_dtype"] == "bfloat16" else 4,
        remat=remat if remat in KEPT else "dots", accumulate=config["accumulate"],
        pipeline=config["model"].get("pipeline_microbatches", 0),
        repeats=config["model"].get("pipeline_repeats", 1),
        chosen=config["model"].get("experts_per_token", 1),
        fp8=flops.blocks if config["model"].get("matmul") == "fp8" else 0.0)
    batch = rows * sum(math.prod(shape) * jnp.dtype(dtype).itemsize
                       for shape, dtype in (*spec.values(), ((), "int32")))
    return Step(work, flops, state, batch, rows, units, "tokens" if seq_len else "images",
                seq_len, method.objective.coupled, method.layout.zero1)
