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
from ssljax.train.checkpoint import Checkpoints
from ssljax.train.state import abstract_state, init_fn, init_state
from ssljax.train.step import make_train_step
from tests.contracts.cases import BATCH_SIZE, case, plugins, tiny

MESH = {"data": 2, "fsdp": 2, "tensor": 2}
every_optim = pytest.mark.parametrize("name", plugins("optim"))


def make(name: str) -> optax.GradientTransformation:
    schedule = resolve("schedules", {"name": "cosine", "warmup_steps": 2}, 40)
    return resolve("optim", tiny("optim", name), schedule)


@functools.cache
def trained(name: str, kind: AxisType | None):
    """Return (losses, state) of a few steps of the next-token case with an optimizer."""
    method, batches = case("next_token")
    mesh = sharding.make_mesh(MESH, kind) if kind else None
    tx = make(name)
    with sharding.use_mesh(mesh):
        init = init_fn(method.objective, tx, method.pretext.views, method.pretext.spec, BATCH_SIZE)
        state = init_state(init, method.key, mesh)
        step = jax.jit(make_train_step(method.objective, tx, views=method.pretext.views))
        seen = []
        for batch in batches[:4]:
            state, metrics = step(state, sharding.place_batch(mesh, batch))
            seen.append(float(metrics["loss"]))
    return seen, state, init


@every_optim
def test_a_quadratic_is_minimised(name):
    tx = make(name)
    params = {"w_up": jnp.linspace(-1.0, 1.0, 12).reshape(4, 3), "scale": jnp.ones(3)}
    state = tx.init(params)
    loss = lambda p: sum(jnp.sum(x**2) for x in jax.tree.leaves(p))  # noqa: E731
    start = loss(params)

    @jax.jit
    def step(params, state):
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(60):
        params, state = step(params, state)
    assert loss(params) < 0.95 * start


@every_optim
def test_losses_do_not_depend_on_the_mesh(name):
    alone, _, _ = trained(name, None)
    for kind in (AxisType.Auto, AxisType.Explicit):
        np.testing.assert_allclose(trained(name, kind)[0], alone, rtol=5e-5)


@every_optim
def test_moments_are_laid_out_as_their_weights(name):
    _, state, _ = trained(name, AxisType.Explicit)
    weights = {name: x.sharding.spec for name, x in named_leaves(state.params).items()}
    seen = set()
    for path, leaf in named_leaves(state.opt_state).items():
        for name in (n for n in weights if path.endswith(f"/{n}")):
            assert leaf.sharding.spec == weights[name], path
            seen.add(name)
    assert seen == weights.keys()


@every_optim
def test_its_state_survives_a_checkpoint_bit_for_bit(name, tmp_path):
    method, _ = case("next_token")
    _, state, init = trained(name, None)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state, int(state.step), {"config": {}, "data": {}, "versions": {}})
    checkpoints.wait()
    back, _ = checkpoints.load(int(state.step), abstract_state(init, method.key, None))
    checkpoints.close()
    assert jax.tree.structure(back) == jax.tree.structure(state)
    assert all(map(np.array_equal, jax.tree.leaves(back.opt_state),
                   jax.tree.leaves(state.opt_state)))


@pytest.mark.parametrize("name", plugins("schedules"))
def test_a_schedule_is_a_fraction_that_warms_up_and_decays(name):
    schedule = resolve("schedules", tiny("schedules", name), 20)
    values = np.array([float(schedule(t)) for t in range(21)])
    assert ((values >= 0) & (values <= 1)).all()
    assert values[0] < values[2] == values.max() == 1
    assert values[20] == pytest.approx(0, abs=1e-6)
    assert (np.diff(values[2:]) <= 1e-7).all()
