"""The loop: what is logged, saved and judged when, on a step that only counts."""

import jax.numpy as jnp
import pytest

from ssljax.core.errors import Interrupted
from ssljax.core.types import Evaluator, TrainState, Writer
from ssljax.train.loop import DivergedError, Schedule, train


def counting_step(*, loss=lambda step: 1.0, rejected=0.0):
    def step(state, batch):
        now = int(state.step) + 1
        assert batch == now - 1
        return state._replace(step=jnp.int32(now)), {
            "loss": jnp.float32(loss(now)), "grad_norm": jnp.float32(1.0),
            "rejected": jnp.float32(rejected)}

    return step


def run(step, *, start=0, total=10, log=2, checkpoint=4, evaluators=None, stop=lambda step: None):
    logged, saved = [], []
    state = TrainState(jnp.int32(start), {}, {}, {}, {}, None)
    error = None
    try:
        train(state, step, iter(range(start, 99)),
              schedule=Schedule(total, log, checkpoint, 5, "tokens"),
              save=lambda state, step: saved.append(step), wait=lambda: None,
              writers=[Writer(lambda step, scalars: logged.append((step, scalars)), lambda: None)],
              evaluators=evaluators or {}, learning_rate=lambda step: step / 10, stop=stop)
    except (Interrupted, DivergedError) as err:
        error = err
    return logged, saved, error


def test_logs_and_checkpoints_come_when_due_and_at_the_end():
    logged, saved, _ = run(counting_step(loss=lambda step: float(step)), total=11)
    assert [step for step, _ in logged] == [2, 4, 6, 8, 10, 11]
    assert [scalars["loss"] for _, scalars in logged] == [2, 4, 6, 8, 10, 11]
    assert saved == [4, 8, 11]
    assert logged[0][1]["learning_rate"] == pytest.approx(0.1)
    assert all(0 <= scalars["data_wait"] <= 1 for _, scalars in logged)


def test_it_starts_where_the_state_is():
    logged, saved, _ = run(counting_step(), start=6)
    assert [step for step, _ in logged] == [8, 10]
    assert saved == [8, 10]


def test_asked_to_stop_it_saves_that_step_and_says_so():
    logged, saved, error = run(counting_step(), log=1, stop=lambda step: 75 if step >= 3 else None)
    assert saved == [3]
    assert [step for step, _ in logged] == [1, 2, 3]
    assert error.exit_code == 75
    assert "saved at step 3" in str(error)


def test_evaluators_run_when_due():
    judge = Evaluator(3, lambda params, extra: {"accuracy": (0.5, (0.4, 0.6))})
    never = Evaluator(0, lambda params, extra: pytest.fail("every = 0 is only when asked"))
    logged, _, _ = run(counting_step(), evaluators={"knn": judge, "linear": never})
    assert [s for s, scalars in logged if "knn/accuracy" in scalars] == [3, 6, 9]


def test_a_run_that_no_longer_moves_ends_with_advice():
    logged, _, error = run(counting_step(loss=lambda step: float("nan"), rejected=1.0))
    assert "All 2 steps up to 2 were rejected" in str(error)
    assert "lower optim.lr" in str(error)
    assert logged[0][1]["rejected"] == 2
