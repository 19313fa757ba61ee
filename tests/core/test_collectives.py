"""Collectives are read from HLO text: every spelling, loops multiplied, compiled functions."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, PartitionSpec

from ssljax.core.collectives import Collective, bytes_of, collectives, read

MESH = {"data": 2, "fsdp": 4}


def module(*lines: str) -> str:
    return "\n".join(("HloModule jit_f", "", "ENTRY %main.1 (p0: f32[8]) -> f32[8] {",
                      *(f"  {line}" for line in lines), "}"))


@pytest.mark.parametrize("groups, axes", [
    ("replica_groups={{0,4},{1,5},{2,6},{3,7}}", "data"),
    ("replica_groups={{0,1,2,3},{4,5,6,7}}", "fsdp"),
    ("replica_groups={{0},{1},{2},{3},{4},{5},{6},{7}}", "-"),
    ("replica_groups={}", "data+fsdp"),
    ("replica_groups=[2,4]<=[8]", "fsdp"),
    ("replica_groups=[4,2]<=[2,4]T(1,0)", "data"),
    ("replica_groups=[1,8]<=[8]", "data+fsdp"),
    ("replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_1'}", "fsdp"),
    ("replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_0','axis_1'}", "data+fsdp"),
    ("replica_groups=mesh['axis_0'=8] {'axis_0':(1)2}", "data"),
    ("replica_groups=mesh['axis_0'=8] {'axis_0':(2)4}", "fsdp"),
    ("replica_groups=mesh['a'=1,'b'=4,'c'=2], device_ids=([2,4]T(1,0)) {'b'}", "fsdp"),
    ("replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'b'}", "data"),
    ("replica_groups=mesh['a'=2,'b'=4], device_ids=(0,4,1,5,2,6,3,7) {'a'}", "fsdp"),
])
def test_every_spelling_of_groups_names_the_mesh_axes(groups, axes):
    line = f"ROOT %r = f32[8]{{0}} all-reduce(%p0), channel_id=1, {groups}, to_apply=%add"
    assert read(module(line), MESH) == [Collective("all-reduce", axes, 1, 32)]


def test_pairs_of_a_permute_name_the_axis_even_where_the_first_pair_stays():
    line = ("%r = bf16[4,2]{1,0} collective-permute(%p0), "
            "source_target_pairs={{0,0},{1,5},{5,1}}")
    assert read(module(line), MESH) == [Collective("collective-permute", "data", 1, 16)]


@pytest.mark.parametrize("shape, size", [
    ("f32[]", 4), ("pred[3]{0}", 3), ("(f32[2,3]{1,0}, bf16[4]{0:T(128)})", 32), ("s4[6]", 3),
    ("f32[<=8]{0}", 32), ("token[]", 0)])
def test_bytes_of_shapes(shape, size):
    assert bytes_of(shape) == size


def test_asynchronous_pairs_count_once_and_by_their_result():
    text = module(
        "%a = (f32[2]{0}, f32[8]{0}) all-gather-start(%p0), replica_groups=[2,4]<=[8]",
        "%b = f32[8]{0} all-gather-done(%a)",
        "%c = ((f32[2], f32[1]), (f32[8], f32[4])) all-gather-start(%x, %y), "
        "replica_groups=[2,4]<=[8]",
        "%d = f32[8]{0} all-reduce-start(%b), replica_groups={}, to_apply=%add",
        "%e = (f32[4], f32[4], u32[], u32[]) collective-permute-start(%x), "
        "source_target_pairs={{0,1},{1,0}}")
    assert read(text, MESH) == [
        Collective("all-gather", "fsdp", 2, 32 + 48), Collective("all-reduce", "data+fsdp", 1, 32),
        Collective("collective-permute", "fsdp", 1, 16)]


def test_an_operation_wrapped_by_async_start_counts_once():
    text = "\n".join((
        "%wrapped (p: f32[8]) -> f32[2] {",
        "  ROOT %r = f32[2]{0} reduce-scatter(%p), replica_groups=[2,4]<=[8], to_apply=%add", "}",
        module("%s = ((f32[8]), f32[2]) async-start(%p0), calls=%wrapped",
               "%d = f32[2] async-done(%s), calls=%wrapped")))
    assert read(text, MESH) == [Collective("reduce-scatter", "fsdp", 1, 8)]


def test_names_in_metadata_and_operands_are_no_collectives():
    assert read(module(
        '%f = f32[8]{0} fusion(%all-reduce.1), kind=kLoop, metadata={op_name="x = y all-reduce("}',
    ), MESH) == []


def test_loops_multiply_and_calls_and_branches_are_followed():
    text = "\n".join((
        "%leaf (p: f32[4]) -> f32[4] {",
        "  ROOT %r = f32[4]{0} all-reduce(%p), replica_groups={}, to_apply=%add", "}",
        "%inner (p: (s32[], f32[4])) -> (s32[], f32[4]) {",
        "  %c = f32[4]{0} call(%x), to_apply=%leaf", "}",
        "%outer (p: (s32[], f32[4])) -> (s32[], f32[4]) {",
        '  %w = (s32[], f32[4]) while(%t), condition=%cond, body=%inner, '
        'backend_config={"known_trip_count":{"n":"3"}}', "}",
        module('%w = (s32[], /*index=1*/f32[4]) while(%t), condition=%cond, body=%outer, '
               'backend_config={"known_trip_count":{"n":"5"}}',
               "%k = f32[4]{0} conditional(%p, %a, %b), branch_computations={%leaf, %other}",
               "%l = f32[4]{0} conditional(%q, %a, %b), true_computation=%leaf, "
               "false_computation=%other")))
    assert read(text, MESH) == [Collective("all-reduce", "data+fsdp", 17, 17 * 16)]


def test_a_compiled_scan_gathers_as_often_as_it_runs():
    mesh = jax.make_mesh((2, 4), ("data", "fsdp"), axis_types=(AxisType.Explicit,) * 2)
    spec = PartitionSpec
    with jax.set_mesh(mesh):
        def f(x, w):
            def body(c, _):
                return jnp.einsum("ij,jk->ik", c, w, out_sharding=spec("data", "fsdp")), None
            return jax.lax.scan(body, x, length=5)[0]

        x = jax.ShapeDtypeStruct((8, 16), "float32",
                                 sharding=jax.NamedSharding(mesh, spec("data", "fsdp")))
        w = jax.ShapeDtypeStruct((16, 16), "float32",
                                 sharding=jax.NamedSharding(mesh, spec(None, "fsdp")))
        got = collectives(jax.jit(f).lower(x, w).compile(), mesh)
    assert got == [Collective("all-gather", "fsdp", 5, 5 * 4 * 16 * 4)]


def test_a_compiled_ring_and_sum():
    mesh = jax.make_mesh((2, 4), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    spec = PartitionSpec

    def f(x):
        moved = jax.lax.ppermute(x, "fsdp", [(i, (i + 1) % 4) for i in range(4)])
        return jax.lax.psum(moved, "data")

    mapped = jax.shard_map(f, mesh=mesh, in_specs=spec("data", "fsdp"),
                           out_specs=spec(None, "fsdp"))
    x = jax.ShapeDtypeStruct((8, 16), "float32")
    got = collectives(jax.jit(mapped).lower(x).compile(), mesh)
    assert got == [Collective("all-reduce", "data", 1, 64),
                   Collective("collective-permute", "fsdp", 1, 64)]
