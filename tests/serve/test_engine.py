"""The engine gives what full recomputation gives at any load, and survives its device."""

import threading
import time

import jax
import numpy as np
import pytest

from ssljax.serve.device import new_turn, padded
from ssljax.serve.engine import StoppedError, start_engine
from ssljax.serve.jobs import Sampling
from ssljax.serve.layout import powers
from ssljax.serve.scheduler import QueueFullError

PROMPTS = ["a", "hello world", "x" * 20, "def f(x):\n    return", "", "Zwölf Boxkämpfer"]


def recompute(artefact, prompt, count):
    """Return greedy ids by running the whole row through `score` for every token."""
    ids, call = list(prompt), jax.jit(artefact.functions["score"])
    for _ in range(count):
        logits = call(artefact.weights, {"tokens": padded(ids, powers(48))})["logits"]
        ids.append(int(np.argmax(logits[0, len(ids) - 1, :257])))
        if ids[-1] == artefact.tokenizer.end_of_text:
            break
    return ids[len(prompt):]


def ids(pieces):
    """Return the generated ids of an answer whose job asked for log probabilities."""
    return [scored.token for piece in pieces for _, scored in piece.scored]


def text(pieces):
    return "".join(piece.text for piece in pieces)


def test_greedy_with_cache_equals_full_recomputation_at_any_load(engine, artefact, ask, gather):
    jobs = [ask(prompt, 14, logprobs=0) for prompt in PROMPTS]
    expected = [recompute(artefact, job.prompt, 14) for job in jobs]
    assert [ids(gather(engine, [job])[0]) for job in jobs] == expected
    assert [ids(pieces) for pieces in gather(engine, jobs)] == expected
    assert len(set(map(tuple, expected))) == len(PROMPTS)      # the model does answer its prompt


def test_generation_fills_the_context_to_its_last_position(engine, artefact, ask, gather):
    job = ask("ab", 45, logprobs=0)                 # 1 + 2 + 45 = 48 positions
    [pieces] = gather(engine, [job])
    assert pieces[-1].finish == "length" and pieces[-1].tokens == 45
    assert ids(pieces) == recompute(artefact, job.prompt, 45)


def test_same_seed_gives_the_same_text_and_logprobs_under_any_traffic(engine, ask, gather):
    job = ask("hello", 16, sampling=Sampling(0.9, 50, 0.95, 7), logprobs=3)
    [alone] = gather(engine, [job])
    for seed in range(3):
        others = [ask("y" * n, n, sampling=Sampling(1.3, 0, 1.0, seed)) for n in (3, 9, 17)]
        crowd = gather(engine, [*others[:seed + 1], job, *others[seed + 1:]])
        assert crowd[seed + 1] == alone             # bit for bit: text and log probabilities
    [other] = gather(engine, [job._replace(sampling=Sampling(0.9, 50, 0.95, 8))])
    assert text(other) != text(alone)


def test_cancelling_frees_the_slot_and_the_queue(engine, ask):
    first = threading.Event()
    cancel = engine.submit([(ask("a", 40), lambda piece: first.set())] * 3)
    cancel_waiting = engine.submit([(ask("b", 40), lambda piece: None)])
    assert first.wait(10) and engine.load().waiting + engine.load().busy >= 1
    cancel_waiting()
    cancel()
    assert (engine.load().waiting, engine.load().busy) == (0, 0)


def test_queue_full_takes_none_of_the_jobs(engine, ask):
    with pytest.raises(QueueFullError, match="holds 4"):
        engine.submit([(ask("a", 40), lambda piece: None)] * 8)     # 3 slots + 4 places
    assert engine.load().waiting == 0


def test_receiver_that_fails_ends_its_own_request_only(engine, ask, gather):
    def broken(piece):
        raise RuntimeError("the client is gone")

    engine.submit([(ask("a", 40), broken)])
    assert text(gather(engine, [ask("hello", 5)])[0])
    assert engine.load() == engine.load()._replace(waiting=0, busy=0, alive=True)


def test_job_longer_than_the_context_ends_itself_only(engine, ask, gather):
    long = ask("a", 1)._replace(prompt=tuple(range(1, 10)), max_tokens=10_000)
    bad, good = gather(engine, [long, ask("b", 4)])
    assert bad[-1].status == 400 and "at most" in bad[-1].error
    assert good[-1].finish == "length"


def failing_once(function, after):
    """Return `function` that raises in its call number `after`, and works again later."""
    calls = iter(range(1_000_000))

    def call(*args):
        if next(calls) == after:
            raise RuntimeError("RESOURCE_EXHAUSTED")
        return function(*args)

    return call


@pytest.mark.parametrize("part", ["read", "first", "decode"])
def test_device_failure_ends_requests_with_a_message_and_the_engine_goes_on(
        part, device, artefact, ask, gather):
    broken = device._replace(**{part: failing_once(getattr(device, part), 1)})
    engine = start_engine(broken, artefact.tokenizer, queue=4)
    try:
        healthy = text(gather(engine, [ask("hello", 1)])[0])
        ends = [pieces[-1] for pieces in gather(engine, [ask("a", 9), ask("b", 9), ask("c", 9)])]
        failed = [piece.error for piece in ends if piece.error]
        assert failed and all("device failed (RuntimeError)" in error for error in failed)
        assert part != "prefill" or len(failed) == 1        # a prompt's failure is its own
        again = gather(engine, [ask("hello", 1), ask("hello world", 14, logprobs=0)])
        assert text(again[0]) == healthy
        assert ids(again[1]) == recompute(artefact, ask("hello world").prompt, 14)
    finally:
        engine.close()


def test_closed_engine_ends_what_runs_and_refuses_more(device, artefact, ask):
    slow = device._replace(decode=lambda *args: (time.sleep(0.02), device.decode(*args))[1])
    engine = start_engine(slow, artefact.tokenizer, queue=4)
    pieces = []
    engine.submit([(ask("a", 40), pieces.append)])
    engine.close()
    assert pieces[-1].error == "The server is shutting down."
    assert not engine.load().alive
    with pytest.raises(StoppedError):
        engine.submit([(ask("a"), pieces.append)])


def test_nothing_is_compiled_after_warming_up(device, caplog):
    device.warm_up()
    table = np.ones(device.layout.table, np.int32)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        cache = device.new_cache()
        for tokens in ([1] * 16, [1] * 3):
            cache, _ = device.read(cache, tokens, 0, table)
        cache, _ = device.decode(cache, new_turn(device.new_rows(), device.layout), 2)
        device.decode(device.new_cache(), new_turn(device.new_rows(), device.layout), 1)
    compiled = [r.getMessage() for r in caplog.records if "Compiling jit(call)" in r.getMessage()]
    assert not compiled


def test_tokens_that_the_prefix_cache_spares_are_told(device, artefact, ask, gather):
    told = []
    engine = start_engine(device, artefact.tokenizer, queue=4, reused=lambda *of: told.append(of))
    for prompt in ("x" * 40, "x" * 40, "x" * 20, "y" * 40):      # chunks of 16, the start token's
        gather(engine, [ask(prompt, 2)])
    engine.close()
    assert told == [(41, 0), (41, 32), (21, 16), (41, 0)]
