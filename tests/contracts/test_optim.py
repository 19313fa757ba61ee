"""What every optimizer and schedule promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType

from ssljax.core import sharding
from ssljax.core.config import resolve
from ssljax.core.tree import named_leaves
from ssljax.core.types import TrainState
from ssljax.optim.average import evaluation_params
from ssljax.optim.compose import compose
from ssljax.train.checkpoint import JSON_ITEMS, Checkpoints
from ssljax.train.layout import Layout, state_layout
from ssljax.train.state import abstract_state, init_fn, init_state, with_views
from ssljax.train.step import make_train_step
from tests.contracts.cases import BATCH_SIZE, case, plugins, tiny

MESH = {"data": 2, "fsdp": 2, "tensor": 2}
STEPS = 20
every_optim = pytest.mark.parametrize("name", plugins("optim"))


def make(name: str, **words) -> optax.GradientTransformation:
    schedule = resolve("schedules", {"name": "constant", "warmup_steps": 2}, 40)
    return compose({**tiny("optim", name), **words}, schedule)


@functools.cache
def task(kind: AxisType | None):
    """Return (mesh, initial state, gradient function): compiled once for all optimizers."""
    method, _ = case("next_token")
    mesh = sharding.make_mesh(MESH, kind) if kind else None
    with sharding.use_mesh(mesh):
        init = init_fn(method.objective, optax.identity(), method.pretext.views,
                       method.pretext.spec, BATCH_SIZE)
        state = init_state(init, method.key, mesh)

    @jax.jit
    def gradient(params, batch):
        def loss(params):
            seen = with_views(method.pretext.views, state.key, batch)
            total, (weight, _, _) = method.objective.loss(params, state.extra, seen, state.key)
            return total / weight

        return jax.value_and_grad(loss)(params)

    return mesh, state, gradient


@functools.cache
def trained(name: str, kind: AxisType | None, steps: int) -> tuple[list[float], TrainState]:
    """Return the losses and the state of steps of the next-token case with an optimizer."""
    _, batches = case("next_token")
    mesh, state, gradient = task(kind)
    tx = make(name, clip_norm=1.0)
    with sharding.use_mesh(mesh):
        params = state.params
        if mesh is None:
            opt_state = jax.jit(tx.init)(params)
        else:
            whole = state._replace(opt_state=jax.eval_shape(tx.init, params))
            layout = state_layout(mesh, whole, Layout()).opt_state
            opt_state = jax.jit(tx.init, out_shardings=layout)(params)
            jax.block_until_ready(opt_state)

        @jax.jit
        def move(params, opt_state, grads):
            updates, opt_state = tx.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), opt_state

        seen = []
        for t in range(steps):
            batch = sharding.place_batch(mesh, batches[t % len(batches)])
            # Two programs with collectives at once can starve each other of a CPU's threads.
            loss, grads = jax.block_until_ready(gradient(params, batch))
            params, opt_state = jax.block_until_ready(move(params, opt_state, grads))
            seen.append(float(loss))
    return seen, state._replace(params=params, opt_state=opt_state, step=jnp.int32(steps))


@every_optim
def test_a_network_learns(name):
    losses, state = trained(name, None, STEPS)
    assert np.isfinite(losses).all()
    assert min(losses[-3:]) < 0.9 * losses[0]
    assert all(jax.tree.leaves(jax.tree.map(
        lambda x: bool(jnp.isfinite(x).all()), evaluation_params(state.opt_state, state.params))))


# SOAP's factorisations take a minute to compile.
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow) if name == "soap" else name
    for name in plugins("optim")])
def test_losses_do_not_depend_on_the_mesh(name):
    alone, _ = trained(name, None, STEPS)
    for kind in (AxisType.Auto, AxisType.Explicit):
        losses, _ = trained(name, kind, 4)
        np.testing.assert_allclose(losses, alone[:4], rtol=5e-5)


@every_optim
def test_its_state_keeps_its_layout(name):
    mesh, *_ = task(AxisType.Explicit)
    _, state = trained(name, AxisType.Explicit, 4)
    wanted = named_leaves(state_layout(mesh, state, Layout()).opt_state)
    weights = {n: x.sharding for n, x in named_leaves(state.params).items()}
    found = set()
    for path, leaf in named_leaves(state.opt_state).items():
        assert leaf.sharding.is_equivalent_to(wanted[path], leaf.ndim), path
        for weight in (n for n in weights if path.endswith(f"/{n}") and leaf.ndim):
            assert leaf.sharding.mesh.shape == mesh.shape
            found.add(weight)
    assert found == weights.keys()
    whole = sum(x.size for x in jax.tree.leaves(state.opt_state))
    here = sum(x.addressable_shards[0].data.size for x in jax.tree.leaves(state.opt_state))
    assert here < 0.5 * whole


@every_optim
def test_its_state_survives_a_checkpoint_bit_for_bit(name, tmp_path):
    method, _ = case("next_token")
    _, state = trained(name, None, STEPS)
    init = init_fn(method.objective, make(name, clip_norm=1.0), method.pretext.views,
                   method.pretext.spec, BATCH_SIZE)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state, int(state.step), dict.fromkeys(JSON_ITEMS, {}))
    checkpoints.wait()
    back, _ = checkpoints.load(int(state.step), abstract_state(init, method.key, None))
    checkpoints.close()
    assert jax.tree.structure(back) == jax.tree.structure(state)
    assert all(map(np.array_equal, jax.tree.leaves(back.opt_state),
                   jax.tree.leaves(state.opt_state)))


@pytest.mark.slow
@every_optim
@pytest.mark.parametrize("kind", [None, AxisType.Auto, AxisType.Explicit], ids=str)
def test_the_train_step_takes_it_with_an_average_and_groups(name, kind):
    method, batches = case("next_token")
    tx = make(name, clip_norm=1.0, average=0.0 if name == "schedule_free" else 0.9,
              groups={"table": {"match": "embedding", "lr_scale": 0.5},
                      "last": {"match": "decoder/norm/scale", "freeze": True}})
    mesh = sharding.make_mesh(MESH, kind) if kind else None
    with sharding.use_mesh(mesh):
        init = init_fn(method.objective, tx, method.pretext.views, method.pretext.spec, BATCH_SIZE)
        state = init_state(init, method.key, mesh)
        step = jax.jit(make_train_step(method.objective, tx, views=method.pretext.views),
                       donate_argnums=0)
        seen = []
        for batch in batches:
            state, metrics = step(state, sharding.place_batch(mesh, batch))
            seen.append(float(metrics["loss"]))
    assert seen[-1] < seen[0]
    assert (state.params["decoder"]["norm"]["scale"] == 1).all()


@pytest.mark.parametrize("name", plugins("schedules"))
def test_a_schedule_is_a_fraction_that_warms_up_and_does_not_rise_again(name):
    schedule = resolve("schedules", tiny("schedules", name), 20)
    values = np.array([float(schedule(t)) for t in range(21)])
    assert ((values >= 0) & (values <= 1)).all()
    assert values[0] < values[2] == values.max() == 1
    assert (np.diff(values[2:]) <= 1e-7).all()
    assert values[20] == pytest.approx(1 if name == "constant" else 0, abs=1e-6)
