"""The training state on meshes: laid out as declared, by every optimizer, and ZeRO-1."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from ssljax.core import sharding
from ssljax.core.tree import named_leaves
from ssljax.train.layout import Layout, over_data, partition
from ssljax.train.state import abstract_state, init_state
from ssljax.train.step import make_train_step
from tests.contracts.cases import plugins
from tests.parallel.cases import KINDS, MESHES, method_of, rows_of


def abstract(optim: str, sizes: dict[str, int], zero1: bool):
    method = method_of("moe", optim, mlp_dim=64)      # no two sides of a matrix are alike
    return abstract_state(method.init, method.key, sharding.make_mesh(sizes),
                          Layout(partition(), zero1))


def axes_named(leaf) -> set[str]:
    """Return the mesh axes of more than one device that a leaf is split over."""
    names = [(a,) if isinstance(a, str) else a or () for a in leaf.sharding.spec]
    return {n for group in names for n in group if leaf.sharding.mesh.shape[n] > 1}


@pytest.mark.parametrize("zero1", [False, True])
@pytest.mark.parametrize("name", plugins("optim"))
def test_no_optimizer_replicates_what_its_parameter_splits(name, zero1):
    """Every leaf with its weight's shape lies as the weight does; others keep what remains."""
    for sizes in MESHES:
        state = abstract(name, sizes, zero1)
        weights = named_leaves(state.params)
        for path, leaf in named_leaves(state.opt_state).items():
            owners = [n for n in weights if path.endswith(f"/{n}")]
            if not owners or leaf.ndim < 2:
                continue
            weight = weights[max(owners, key=len)]
            if leaf.shape == weight.shape:
                assert axes_named(leaf) >= axes_named(weight), (sizes, path)
                assert zero1 or leaf.sharding.spec == weight.sharding.spec, (sizes, path)
            assert "stage" in axes_named(leaf) or "stage" not in axes_named(weight), (sizes, path)


def test_moments_go_over_data_behind_fsdp_or_where_they_divide():
    sizes = {"stage": 1, "data": 4, "fsdp": 2, "tensor": 2}
    assert over_data(("fsdp", "tensor"), (16, 8), sizes) == (("fsdp", "data"), "tensor")
    assert over_data(("tensor", None), (16, 6), sizes) == (("tensor", "data"), None)
    assert over_data(("fsdp", None), (4, 8), sizes) == ("fsdp", ("data",))
    assert over_data((None, None), (6, 7), sizes) == (None, None)
    assert over_data(("fsdp", None), (16, 8), sizes | {"data": 1}) == ("fsdp", None)


@functools.cache
def trained(sizes: tuple[tuple[str, int], ...], kind: str, zero1: bool):
    """Return the state after two steps, and the step's program."""
    method = method_of("gpt")
    method = dataclasses.replace(method, layout=Layout(method.layout.table, zero1))
    mesh, batch = sharding.make_mesh(dict(sizes), KINDS[kind]) if sizes else None, rows_of("gpt")
    with sharding.use_mesh(mesh):
        state = init_state(method.init, method.key, mesh, method.layout)
        batch = sharding.place_batch(mesh, batch)
        step = jax.jit(make_train_step(method.objective, method.tx, views=method.pretext.views,
                                       layout=method.layout))
        for _ in range(2):
            before, (state, _) = state, step(state, batch)
            for (path, old), new in zip(named_leaves(before).items(), jax.tree.leaves(state)):
                assert new.sharding.is_equivalent_to(old.sharding, old.ndim), (kind, path)
        # Auto meshes spell an equal layout in another way once, after the first step.
        assert step._cache_size() <= (1 if kind == "explicit" else 2)
    return state


@pytest.mark.parametrize("kind", [
    "explicit", pytest.param("auto", marks=pytest.mark.slow)])
def test_zero1_updates_the_same_parameters_with_a_fraction_of_the_moments(kind):
    sizes = (("data", 4), ("fsdp", 2))
    state, alone = trained(sizes, kind, True), trained((), kind, False)
    for name, weight in named_leaves(state.params).items():
        expected = np.asarray(named_leaves(alone.params)[name])
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=2e-4, err_msg=name)
    whole = trained(sizes, kind, False)
    held = lambda tree: sum(x.addressable_shards[0].data.nbytes  # noqa: E731
                            for x in jax.tree.leaves(tree))
    assert held(state.params) == held(whole.params)
    assert held(state.opt_state) < 0.3 * held(whole.opt_state)
