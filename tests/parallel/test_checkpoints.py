"""A checkpoint of any mesh is restored on any other, every number bitwise equal."""

import functools
import itertools
import pathlib
import tempfile

import jax
import numpy as np
import pytest

from ssljax.core import sharding
from ssljax.core.tree import named_leaves
from ssljax.train.checkpoint import JSON_ITEMS, Checkpoints
from ssljax.train.layout import Layout, partition
from ssljax.train.state import abstract_state, init_state
from tests.parallel.cases import MESHES, method_of

STEP = 0
PAIRS = (({"fsdp": 8}, {"stage": 4, "data": 2}),
         ({"stage": 2, "expert": 2, "fsdp": 2}, {"data": 8}),
         ({"expert": 4, "fsdp": 2}, {"fsdp": 2, "context": 2, "tensor": 2}))


@functools.cache
def initial(sizes: tuple[tuple[str, int], ...]):
    """Return the state of the mixture of experts on a mesh, and its leaves on the host."""
    method, mesh = method_of("moe"), sharding.make_mesh(dict(sizes))
    with sharding.use_mesh(mesh):
        return init_state(method.init, method.key, mesh)


def check(source: dict[str, int], target: dict[str, int], *, zero1: bool = False) -> None:
    method, saved = method_of("moe"), initial(tuple(source.items()))
    mesh = sharding.make_mesh(target)
    wanted = abstract_state(method.init, method.key, mesh, Layout(partition(), zero1))
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(pathlib.Path(folder))
        checkpoints.save(saved, STEP, dict.fromkeys(JSON_ITEMS, {}))
        checkpoints.wait()
        restored, _ = checkpoints.load(STEP, wanted)
        checkpoints.close()
    before = named_leaves((saved.params, saved.opt_state))
    layouts = jax.tree.leaves((wanted.params, wanted.opt_state))
    after = named_leaves((restored.params, restored.opt_state))
    for (name, leaf), layout in zip(after.items(), layouts, strict=True):
        assert np.array_equal(leaf, before[name]), name
        assert leaf.sharding == layout.sharding, name


@pytest.mark.parametrize("source, target", PAIRS, ids=str)
def test_another_mesh_restores_the_same_numbers(source, target):
    check(source, target)


def test_zero1_can_be_chosen_for_a_run_that_began_without_it():
    check({"data": 8}, {"data": 4, "fsdp": 2}, zero1=True)


@pytest.mark.slow
@pytest.mark.parametrize("source, target", list(itertools.permutations(MESHES, 2)), ids=str)
def test_every_mesh_restores_every_other(source, target):
    check(source, target)
