"""The loop: what is logged, saved and judged when, on a step that only counts."""

import time

import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import Interrupted
from ssljax.core.types import Evaluator, TrainState, Writer
from ssljax.train.alarm import CollapsedError
from ssljax.train.ledger import Ledger
from ssljax.train.loop import Hooks, Schedule, train
from ssljax.train.meter import DivergedError, Meter, Work


def counting_step(*, loss=lambda step: 1.0, in_a_row=lambda step: 0):
    def step(state, batch):
        now = int(state.step) + 1
        assert batch == now - 1
        return state._replace(step=jnp.int32(now)), {
            "loss": jnp.float32(loss(now)), "grad_norm": jnp.float32(1.0),
            "rejected": jnp.int32(in_a_row(now)), "in_a_row": jnp.int32(in_a_row(now))}

    return step


def run(step, *, start=0, total=10, log=2, checkpoint=4, evaluators=None, stop=lambda step: None,
        work=None, max_rejected=3, wait=lambda: None, bell=None):
    logged, saved, rejected = [], [], []
    state = TrainState(jnp.int32(start), {}, {}, {}, {}, None)
    schedule, ledger, error = Schedule(total, log, checkpoint), Ledger(None, total=total), None
    meter = Meter(
        start=start, due=schedule.logs, work=work or Work(5, "tokens"), ledger=ledger,
        writers=[Writer(lambda step, scalars: logged.append((step, scalars)), lambda: None)],
        learning_rate=lambda step: step / 10, max_rejected=max_rejected,
        on_reject=lambda rejection: rejected.append(rejection.step), alarm=bell and bell.hear)
    hooks = Hooks(lambda state, step, metrics: saved.append((step, metrics)), wait, stop,
                  halt=bell.verdict if bell else lambda: None)
    try:
        train(state, step, iter(range(start, 99)), schedule=schedule, hooks=hooks, meter=meter,
              ledger=ledger, evaluators=evaluators or {})
    except (Interrupted, DivergedError, CollapsedError) as err:
        error = err
    finally:
        meter.close()
    return logged, [step for step, _ in saved], error, (saved, rejected, ledger)


def test_logs_and_checkpoints_come_when_due_and_at_the_end():
    logged, saved, _, _ = run(counting_step(loss=lambda step: float(step)), total=11)
    assert [step for step, _ in logged] == [2, 4, 6, 8, 10, 11]
    assert [scalars["loss"] for _, scalars in logged] == [2, 4, 6, 8, 10, 11]
    assert saved == [4, 8, 11]
    assert logged[0][1]["learning_rate"] == pytest.approx(0.1)
    assert all(0 <= scalars["data_wait"] <= 1 for _, scalars in logged)


def test_it_starts_where_the_state_is():
    logged, saved, _, _ = run(counting_step(), start=6)
    assert [step for step, _ in logged] == [8, 10]
    assert saved == [8, 10]


def test_asked_to_stop_it_saves_that_step_and_says_so():
    logged, saved, error, _ = run(counting_step(), log=1,
                                  stop=lambda step: 75 if step >= 3 else None)
    assert saved == [3]
    assert [step for step, _ in logged] == [1, 2, 3]
    assert error.exit_code == 75
    assert "saved at step 3" in str(error)


def test_evaluators_run_when_due():
    judge = Evaluator(3, lambda params, extra: {"accuracy": (0.5, (0.4, 0.6))})
    never = Evaluator(0, lambda params, extra: pytest.fail("every = 0 is only when asked"))
    logged, _, _, _ = run(counting_step(), evaluators={"knn": judge, "linear": never})
    assert [s for s, scalars in logged if "knn/accuracy" in scalars] == [3, 6, 9]


def test_judgements_are_made_before_the_save_of_their_step_and_go_with_it():
    judge = Evaluator(4, lambda params, extra: {"accuracy": (0.5, (0.4, 0.6))})
    _, _, _, (saved, _, _) = run(counting_step(), evaluators={"knn": judge}, total=8)
    assert saved == [(4, {"knn/accuracy": 0.5}), (8, {"knn/accuracy": 0.5})]


def test_rejected_steps_are_reported_and_too_many_in_a_row_end_the_run():
    bad = {3: 1, 6: 1, 7: 2, 8: 3}
    _, saved, error, (_, rejected, _) = run(counting_step(in_a_row=lambda step: bad.get(step, 0)))
    assert rejected == [3, 6, 7, 8]
    assert (error.step, error.in_a_row) == (8, 3)
    assert "The last 3 steps up to 8 were rejected" in str(error)
    assert "lower optim.lr" in str(error)
    assert "--step 8" in str(error)
    assert saved == [4]


def test_rates_follow_from_the_work_of_a_step():
    logged, _, _, _ = run(counting_step(), work=Work(5, "tokens", flops=8.0, peak=16.0))
    for _, scalars in logged:
        rate = scalars["tokens_per_second"] / 5
        assert scalars["model_flops_per_second"] == pytest.approx(8 * rate)
        assert scalars["mfu"] == pytest.approx(rate / 2)
        assert scalars["step_seconds_p50"] <= scalars["step_seconds_p90"] <= (
            scalars["step_seconds_p99"])
        assert 0 <= scalars["goodput"] <= 1


def test_norms_are_logged_by_block_and_as_one():
    step = counting_step()

    def with_norms(state, batch):
        state, metrics = step(state, batch)
        blocks = {"decoder/blocks": jnp.array([3.0, 0.0]), "embedding": jnp.float32(4.0)}
        return state, {**metrics, "norms": {"update_norm": blocks}}

    _, scalars = run(with_norms, total=2)[0][0]
    assert scalars["update_norm"] == 5
    assert scalars["update_norm/decoder/blocks/0"] == 3
    assert scalars["update_norm/embedding"] == 4
    assert all(isinstance(x, float) and np.isfinite(x) for x in scalars.values())


def test_waiting_for_data_is_counted_only_while_the_device_has_nothing_to_do():
    def slowly():
        for i in range(99):
            time.sleep(0.02)
            yield i

    def busy_step(state, batch):
        time.sleep(0.06)
        return counting_step()(state, batch)

    state = TrainState(jnp.int32(0), {}, {}, {}, {}, None)
    for step, starved in ((counting_step(), True), (busy_step, False)):
        ledger, schedule = Ledger(None, total=12), Schedule(12, 12, 12)
        logged = []
        meter = Meter(start=0, due=schedule.logs, work=Work(1, "tokens"), ledger=ledger,
                      writers=[Writer(lambda s, x, logged=logged: logged.append(x), lambda: None)],
                      learning_rate=lambda step: 0.0)
        train(state, step, slowly(), schedule=schedule, ledger=ledger, meter=meter, evaluators={},
              hooks=Hooks(lambda *_: None, lambda: None, lambda step: None))
        meter.close()
        assert (logged[0]["data_wait"] > 0.5) == starved
