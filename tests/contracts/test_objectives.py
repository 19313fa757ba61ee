"""What every objective promises: read once, hold for each file in objectives/."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.core.tree import cast_floating, named_leaves
from ssljax.train.checkpoint import Checkpoints
from ssljax.train.layout import state_layout
from ssljax.train.retention import Retention
from ssljax.train.state import abstract_state, init_state
from tests.contracts.cases import (
    BATCH_SIZE,
    CASES,
    MESHES,
    alone,
    case,
    chosen_mesh,
    first_steps,
    gradients_of,
    initial,
    on_chosen_mesh,
    plugins,
    program,
    program_of,
)

# Tests of one objective follow each other (scope), so that its programs can go before the next's.
every_objective = pytest.mark.parametrize("name", sorted(CASES), scope="module")


def at_once(*names: str) -> pytest.MarkDecorator:
    """Parametrise over every objective, with these among the fast tests.

    Compiling a tiny network takes most of a minute of one core: few stand for all where a contract
    needs a program of its own.
    """
    return pytest.mark.parametrize("name", [
        name if name in names else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(CASES)], scope="module")


# Tokens, batch statistics and a teacher, masks, crops and prototypes.
one_of_a_kind = at_once("next_token", "byol", "mae", "dino")

# A queue fills with the one batch of the test, whose own keys then stand among the negatives: the
# loss falls where it is a function of the parameters alone.
QUEUED = {"moco_v2"}

# Networks whose blocks and outputs start at zero (adaLN-Zero): steps until all gates are open.
STARTS_CLOSED = {"flow_matching": 3}


def start(name: str):
    method, batches = case(name)
    return method, initial(name), sharding.place_batch(None, batches[0])


def step(name: str, state, batch):
    """Take one step of a case without a mesh."""
    return program(name).step(state, sharding.place_batch(None, batch))


def bits(tree):
    """Return every leaf as bytes, so that equality means bitwise."""
    def one(x):
        is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(x) if is_key else x).tobytes()
    return [one(x) for x in jax.tree.leaves(tree)]


def test_every_objective_has_a_case():
    assert set(plugins("objectives")) == set(CASES)


@every_objective
def test_loss_is_a_sum_and_its_weight_and_keeps_the_form_of_extra(name):
    method, state, batch = start(name)
    total, (weight, extra, metrics) = jax.eval_shape(
        method.objective.loss, state.params, state.extra, batch, state.key)
    scalars = [total, weight, *jax.tree.leaves(metrics)]
    assert all(x.shape == () and x.dtype == jnp.float32 for x in scalars)
    assert all(len(pair) == 2 for pair in metrics.values())
    form = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)  # noqa: E731
    assert form(extra) == form(state.extra)
    params, moved = jax.eval_shape(method.objective.update, state.params, state.extra, state.step)
    assert form(params) == form(state.params)
    assert form(moved) == form(state.extra)


@every_objective
def test_gradients_are_finite_and_reach_every_parameter(name):
    state, batch = initial(name), case(name)[1][0]
    for _ in range(1 + STARTS_CLOSED.get(name, 0)):
        state, _ = step(name, state, batch)
    for leaf, grad in gradients_of(state).items():
        assert np.isfinite(grad).all(), leaf
        assert np.abs(grad).max() > 0, leaf


@every_objective
def test_loss_falls(name):
    state, batch = initial(name), case(name)[1][0]
    extra, seen = state.extra, []
    for _ in range(30):
        state, metrics = step(name, state, batch)
        state = state._replace(extra=extra) if name in QUEUED else state
        seen.append(float(metrics["loss"]))
    assert np.mean(seen[-4:]) < 0.9 * np.mean(seen[:4])


@at_once("next_token")
def test_jit_equals_no_jit(name):
    method, state, batch = start(name)
    args = (state.params, state.extra, batch, state.key)
    with jax.disable_jit():
        slow = method.objective.loss(*args)[0]
    # Sums over rows, near zero where a loss crosses it.
    np.testing.assert_allclose(jax.jit(method.objective.loss)(*args)[0], slow, rtol=1e-5,
                               atol=1e-5 * BATCH_SIZE)


@every_objective
def test_same_key_same_result(name):
    first, second = (step(name, initial(name), case(name)[1][0]) for _ in range(2))
    assert bits(first) == bits(second)


@one_of_a_kind
def test_same_key_same_start(name):
    assert bits(init_state(program(name).init, case(name)[0].key, None)) == bits(initial(name))


def assert_losses_equal(found: list[float], expected: list[float], rtol: float = 2e-5) -> None:
    """Losses that cross zero, such as SimSiam's, have only their scale to be held against."""
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)


def assert_gradients_equal(found: dict, expected: dict, rtol: float) -> None:
    """Of all weights together, and of every weight that has more than rounding errors."""
    assert found.keys() == expected.keys()
    whole = np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in expected.values()))
    distances = {n: np.linalg.norm((found[n] - g).astype(np.float64).ravel())
                 for n, g in expected.items()}
    assert np.linalg.norm(list(distances.values())) <= rtol * whole, distances
    for name, grad in expected.items():
        limit = 10 * rtol * np.linalg.norm(grad.astype(np.float64).ravel()) + rtol * whole / 10
        assert distances[name] <= limit, name


@at_once("next_token", "dino")
def test_no_mesh_equals_a_chosen_mesh(name):
    assert_losses_equal(on_chosen_mesh(name).losses, alone(name).losses)


@one_of_a_kind
def test_gradients_on_a_mesh_equal_one_device(name):
    assert_gradients_equal(on_chosen_mesh(name).gradients, alone(name).gradients, 1e-5)


@pytest.mark.slow
@every_objective
@pytest.mark.parametrize("kind", (AxisType.Auto, AxisType.Explicit))
@pytest.mark.parametrize("sizes", MESHES, ids=str)
def test_no_mesh_equals_every_mesh(name, sizes, kind):
    found = first_steps(name, sharding.make_mesh(sizes, kind))
    assert_losses_equal(found.losses, alone(name).losses)
    assert_gradients_equal(found.gradients, alone(name).gradients, 1e-5)


def double_gradients(name: str, mesh: jax.sharding.Mesh | None) -> dict[str, np.ndarray]:
    """Return the gradients of a case's first loss in float64 on a mesh."""
    method, state, batch = start(name)
    with jax.enable_x64(True):
        wide = state._replace(**{part: cast_floating(getattr(state, part), jnp.float64)
                                 for part in ("params", "extra")}, opt_state=())
        batch = cast_floating(batch, jnp.float64)
        if mesh is not None:
            wide = jax.device_put(wide, state_layout(mesh, wide, method.layout))
            batch = sharding.place_whole(mesh, jax.tree.map(np.asarray, batch))
        with sharding.use_mesh(mesh):
            grads = jax.jit(jax.grad(lambda p: method.objective.loss(
                p, wide.extra, batch, wide.key)[0]))(wide.params)
        return {leaf: np.array(g) for leaf, g in named_leaves(grads).items()}


@pytest.mark.slow
@every_objective
def test_float64_gradients_on_a_mesh_equal_one_device(name):
    on_mesh = double_gradients(name, sharding.make_mesh(chosen_mesh(name)))
    # Norms keep their statistics in float32, and codes at a temperature of .05 make more of it.
    rtol = 2e-6 if name == "swav" else 1e-6
    assert_gradients_equal(on_mesh, double_gradients(name, None), rtol)


@every_objective
def test_methods_that_compare_rows_refuse_accumulation(name):
    method, _ = case(name)
    if not method.objective.coupled:
        assert program_of(name, accumulate=2)
        return
    with pytest.raises(ConfigError, match="compares the rows"):
        program_of(name, accumulate=2)


@at_once("next_token", "mae")
def test_accumulation_is_exact(name):
    method, _ = case(name)
    if method.objective.coupled:
        pytest.skip("it compares the rows of a batch")
    assert_losses_equal(first_steps(name, None, accumulate=4).losses, alone(name).losses)


@at_once("next_token")
def test_bfloat16_computes_nearly_the_same(name):
    half = first_steps(name, None, compute_dtype="bfloat16").losses
    assert_losses_equal(half, alone(name).losses, rtol=0.03)
    assert half != alone(name).losses


@every_objective
def test_encoder_feeds_the_model(name):
    method, state, batch = start(name)
    params, stats = method.objective.encoder(state.params, state.extra)
    inputs = {n: batch[n] for n in ("tokens", "image") if n in batch}
    if inputs.get("image") is not None and inputs["image"].dtype == jnp.uint8:
        inputs = {"image": batch["image"].astype(jnp.float32)}      # as large as evaluation's
    outputs = jax.eval_shape(lambda p: method.model.apply(p, inputs, stats=stats), params)
    assert outputs["sequence"].shape[0] == BATCH_SIZE


@every_objective
def test_stopped_and_resumed_is_bitwise_equal(name, tmp_path):
    method, batches = case(name)
    state = initial(name)
    for batch in batches[:2]:
        state, _ = step(name, state, batch)
    checkpoints = Checkpoints(tmp_path, retention=Retention(1))
    checkpoints.save(state, 2, {"config": {}, "data": {}, "judgements": {}, "versions": {}})
    checkpoints.wait()
    resumed, _ = checkpoints.load(2, abstract_state(program(name).init, method.key, None))
    checkpoints.close()
    for batch in batches[2:4]:
        state, a = step(name, state, batch)
        resumed, b = step(name, resumed, batch)
        assert bits(a) == bits(b)
    assert bits(resumed) == bits(state)


@every_objective
def test_a_non_finite_step_is_rejected_whole(name):
    state = initial(name)
    poisoned = state._replace(params=jax.tree.map(lambda x: x * jnp.nan, state.params))
    after, metrics = step(name, poisoned, case(name)[1][0])
    assert metrics["rejected"] == 1
    assert bits((after.params, after.opt_state, after.extra)) == bits(
        (poisoned.params, poisoned.opt_state, poisoned.extra))
    assert after.step == 1
