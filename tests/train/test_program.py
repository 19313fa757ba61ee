"""The compiled step: a second compilation is never silent."""

import logging

import jax
import jax.numpy as jnp
import pytest

from ssljax.train.ledger import Ledger
from ssljax.train.program import count_compiling, make_program


@pytest.fixture
def program():
    step = jax.jit(lambda state, batch: (state + 1, {"loss": jnp.sum(batch["tokens"])}))
    ledger = Ledger(None, total=1)
    return make_program(step, ledger), ledger


def test_one_form_is_compiled_once_and_timed(program, caplog):
    run, ledger = program
    batch = {"tokens": jnp.ones((2, 4))}
    state, metrics = run(jnp.int32(0), batch)
    compiling = ledger.seconds["compile"]
    state, metrics = run(state, batch)
    assert (int(state), float(metrics["loss"])) == (2, 8.0)
    assert ledger.seconds["compile"] == compiling > 0
    assert "compiled again" not in caplog.text


def test_a_batch_of_another_form_is_compiled_again_and_the_change_is_said(program, caplog):
    run, ledger = program
    with caplog.at_level(logging.WARNING):
        run(jnp.int32(0), {"tokens": jnp.ones((2, 4))})
        _, metrics = run(jnp.int32(0), {"tokens": jnp.ones((2, 6))})
    assert float(metrics["loss"]) == 12
    assert "tokens: float32[2, 4]" in caplog.text
    assert "-> float32[2, 6]" in caplog.text
    caplog.clear()
    run(jnp.int32(0), {"tokens": jnp.ones((2, 4))})         # known already
    assert not caplog.text


def test_other_compilations_are_counted_until_told_to_stop():
    ledger = Ledger(None, total=1)
    stop = count_compiling(ledger)
    jax.jit(lambda x: x * 3 + 1)(jnp.arange(5.0)).block_until_ready()
    counted = ledger.seconds["compile"]
    assert counted > 0
    stop()
    jax.jit(lambda x: x * 5 + 2)(jnp.arange(5.0)).block_until_ready()
    assert ledger.seconds["compile"] == counted
