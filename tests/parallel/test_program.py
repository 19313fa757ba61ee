"""The compiled train step: what it moves between devices, and what it needs on each.

The lists are golden: a collective more is a weight gathered twice or a state replicated. Counts and
bytes are those of jax 0.10.2 on CPU, which writes a reduce-scatter as an all-reduce and a slice.
"""

import functools
import math

import jax
import pytest

from ssljax.core import sharding
from ssljax.core.collectives import Collective, collectives
from ssljax.train.layout import Layout, partition
from ssljax.train.state import abstract_state
from ssljax.train.step import make_train_step
from tests.parallel.cases import KINDS, method_of, rows_of


def mesh_of(sizes: dict[str, int], kind: str = "explicit") -> jax.sharding.Mesh:
    """Return a mesh over as many of the fake devices as the sizes multiply to."""
    count = math.prod(sizes.values())
    full = sharding.mesh_sizes(count, sizes)
    return jax.make_mesh(tuple(full.values()), sharding.AXES, devices=jax.devices()[:count],
                         axis_types=(KINDS[kind],) * len(full))


@functools.cache
def compiled(network: str, mesh: jax.sharding.Mesh, *, zero1: bool = False, accumulate: int = 1,
             **options) -> jax.stages.Compiled:
    """Return the compiled train step of a network on a mesh."""
    method, batch = method_of(network, **options), rows_of(network)
    layout = Layout(partition(), zero1)
    with sharding.use_mesh(mesh):
        state = abstract_state(method.init, method.key, mesh, layout)
        rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(sharding.BATCH))
        batch = {name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=rows)
                 for name, x in batch.items()}
        step = make_train_step(method.objective, method.tx, views=method.pretext.views,
                               accumulate=accumulate, layout=layout)
        return jax.jit(step, donate_argnums=0).lower(state, batch).compile()


# Of one train step on one device: kind, axes, count, bytes.
GOLDEN = {
    "data": ({"data": 8}, {}, [("all-reduce", "data", 2, 132232)]),
    "fsdp": ({"fsdp": 8}, {}, [("all-gather", "fsdp", 40, 229376),
                               ("all-reduce", "fsdp", 11, 132512)]),
    "tensor": ({"tensor": 8}, {}, [("all-reduce", "tensor", 25, 724268)]),
    "zero1": ({"data": 8}, {"zero1": True}, [("all-gather", "data", 6, 122880),
                                             ("all-reduce", "data", 10, 132448)]),
    "accumulate": ({"data": 8}, {"accumulate": 2}, [("all-reduce", "data", 2, 264464)]),
}
# Where strategies mix, counts follow the compiler's mood; bytes are held within a tenth.
MIXED = {
    "pipeline": ("gpt", {"stage": 4, "data": 2}, {}, {
        ("all-gather", "stage"): 34128, ("all-reduce", "data"): 28928,
        ("all-reduce", "stage"): 32824, ("all-reduce", "stage+data"): 16520,
        ("collective-permute", "stage"): 57344}),
    "experts": ("moe", {"expert": 4, "fsdp": 2}, {}, {
        ("all-gather", "expert"): 139264, ("all-gather", "fsdp"): 180224,
        ("all-gather", "fsdp+expert"): 16384, ("all-reduce", "expert"): 32936,
        ("all-reduce", "fsdp"): 114968, ("all-reduce", "fsdp+expert"): 19660,
        ("reduce-scatter", "expert"): 33792}),
    "cube": ("gpt", {"data": 2, "fsdp": 2, "tensor": 2}, {}, {
        ("all-gather", "fsdp"): 114688, ("all-reduce", "data"): 28672,
        ("all-reduce", "data+fsdp"): 9352, ("all-reduce", "fsdp"): 57624,
        ("all-reduce", "tensor"): 181292}),
    "ring": ("gpt", {"data": 2, "context": 4}, {"attention": "ring"}, {
        ("all-reduce", "context"): 132228, ("all-reduce", "data"): 132232,
        ("collective-permute", "context"): 398336}),
}
FAST = {"data", "fsdp", "pipeline", "experts"}


def cases(names) -> list:
    """Return test parameters: those that are not FAST are marked slow."""
    return [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", cases(GOLDEN))
def test_the_step_moves_what_the_golden_list_says(name):
    sizes, options, golden = GOLDEN[name]
    mesh = mesh_of(sizes)
    program = compiled("gpt", mesh, num_heads=8, **options)
    assert collectives(program, mesh) == [Collective(*entry) for entry in golden]


@pytest.mark.parametrize("name", cases(MIXED))
def test_mixed_strategies_move_the_golden_bytes(name):
    network, sizes, options, golden = MIXED[name]
    mesh = mesh_of(sizes)
    # Groups of one device ("-") are left over where an axis is not used, and move nothing.
    found = collectives(compiled(network, mesh, **options), mesh)
    moved = {(c.kind, c.axes): c.bytes for c in found if c.axes != "-"}
    assert moved.keys() == golden.keys()
    assert moved == pytest.approx(golden, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [{"fsdp": 8}, {"stage": 4, "data": 2}], ids=str)
def test_auto_and_explicit_meshes_move_the_same(sizes):
    moved = [collectives(compiled("gpt", mesh, num_heads=8), mesh)
             for mesh in (mesh_of(sizes, kind) for kind in KINDS)]
    assert moved[0] == moved[1]


def needed(devices: int) -> int:
    """Return the bytes that a device needs for a step over `devices` of them along fsdp."""
    memory = compiled("gpt", mesh_of({"fsdp": devices}), num_heads=8).memory_analysis()
    return memory.argument_size_in_bytes + memory.temp_size_in_bytes


def test_a_larger_mesh_needs_less_memory_on_each_device():
    assert needed(8) < 0.2 * needed(1)


@pytest.mark.slow
def test_every_doubling_of_the_mesh_needs_less_memory_on_each_device():
    sizes = [needed(n) for n in (1, 2, 4, 8)]
    assert all(b < 0.6 * a for a, b in zip(sizes, sizes[1:], strict=False))
