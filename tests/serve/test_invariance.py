"""A request's tokens and log probabilities are the same bits whatever else the engine does."""

import threading

import numpy as np
import pytest

from ssljax.serve.device import make_device
from ssljax.serve.draft import with_draft
from ssljax.serve.engine import start_engine
from ssljax.serve.jobs import Sampling

STARTS = ["", "def f(x):\n    return", "The quick brown fox jumps over the lazy dog",
          "The quick brown fox sits", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]


def random_job(ask, rng):
    """Return a job whose prompt begins as others do, with any settings."""
    text = STARTS[rng.integers(len(STARTS))][:40] + "xyz"[:rng.integers(4)]
    sampling = Sampling(
        temperature=float(rng.choice([0.0, 0.7, 1.3])), top_k=int(rng.choice([0, 5])),
        top_p=float(rng.choice([1.0, 0.9])), seed=int(rng.integers(2**32)),
        min_p=float(rng.choice([0.0, 0.05])), frequency=float(rng.choice([0.0, 0.4])),
        repetition=float(rng.choice([1.0, 1.2])), bias=((101, 2.0),) if rng.random() < 0.2 else ())
    return ask(text, int(rng.integers(1, 47 - len(text))), sampling=sampling,
               logprobs=int(rng.integers(4)))


def answers(pieces):
    """Return text, tokens, log probabilities and alternatives, and why it ended."""
    assert pieces[-1].error is None
    return ("".join(piece.text for piece in pieces), pieces[-1].finish,
            [scored for piece in pieces for scored in piece.scored])


def alone(device, tokenizer, job, gather):
    """Return what an engine answers that has never had another request."""
    engine = start_engine(device, tokenizer, queue=0)
    try:
        return answers(gather(engine, [job])[0])
    finally:
        engine.close()


def in_traffic(device, tokenizer, jobs, noise, rng):
    """Return the answers to `jobs`, started in random order among `noise` that is cancelled."""
    busy, got, done = [], {}, threading.Event()
    counted = {name: lambda cache, turn, *more, call=call: (
        busy.append(np.count_nonzero(turn.left)), call(cache, turn, *more))[1]
        for name, call in (("decode", device.decode), ("verify", device.verify)) if call}
    engine = start_engine(device._replace(**counted), tokenizer, queue=10_000)

    def receiver(index):
        pieces = got[index] = []

        def receive(piece):
            pieces.append(piece)
            if all(p and (p[-1].finish or p[-1].error) for p in list(got.values())) and \
                    len(got) == len(jobs):
                done.set()

        return receive

    def cancelled_after(tokens):
        cancels = []
        return cancels, lambda piece: piece.tokens >= tokens and [stop() for stop in cancels]

    first, *rest = rng.permutation(len(jobs)).reshape(-1, 4).tolist()
    engine.submit([(jobs[index], receiver(index)) for index in first])
    for index in sum(rest, []):
        if noise:
            cancels, receive = cancelled_after(int(rng.integers(1, 9)))
            cancels.append(engine.submit([(noise.pop(), receive)]))
        engine.submit([(jobs[index], receiver(index))])
        if rng.random() < 0.3:
            threading.Event().wait(float(rng.random()) * 0.02)
    assert done.wait(600)
    found = engine.load().pages.found
    engine.close()
    assert max(busy) > 1 and found > len(jobs) // 4    # there was traffic
    return [answers(got[index]) for index in range(len(jobs))]


def any_steps(device, rng):
    """Return `device`, decoding any number of tokens a dispatch."""
    return device._replace(decode=lambda cache, turn, steps: device.decode(
        cache, turn, int(rng.integers(1, device.layout.steps + 1))))


def check(device, artefact, ask, gather, count, rng):
    jobs, noise = ([random_job(ask, rng) for _ in range(n)] for n in (count, count // 3))
    one = device._replace(decode=lambda cache, turn, steps: device.decode(cache, turn, 1))
    right = [alone(one, artefact.tokenizer, job, gather) for job in jobs]
    here = in_traffic(any_steps(device, rng), artefact.tokenizer, jobs, noise, rng)
    assert sum(a != b for a, b in zip(right, here, strict=True)) == 0
    assert len({text for text, _, _ in right}) > count / 2
    return jobs, right


def test_60_requests_in_random_traffic_differ_in_no_bit(device, artefact, ask, gather):
    check(device, artefact, ask, gather, 60, np.random.default_rng(0))


@pytest.mark.slow
def test_1000_requests_in_random_traffic_differ_in_no_bit(device, artefact, ask, gather):
    check(device, artefact, ask, gather, 1000, np.random.default_rng(1))


@pytest.mark.slow
def test_memory_and_tokens_a_dispatch_change_no_bit(device, artefact, ask, gather):
    rng = np.random.default_rng(2)
    jobs = [random_job(ask, rng) for _ in range(30)]
    other = make_device(artefact, slots=3, page=8, chunk=16, steps=3, cache_tokens=96)
    assert other.fingerprint == device.fingerprint
    for job in jobs:
        assert alone(other, artefact.tokenizer, job, gather) == alone(
            device, artefact.tokenizer, job, gather)


@pytest.mark.slow
def test_adaptive_rows_answer_alike_without_the_promise(artefact, ask, gather):
    device = make_device(artefact, slots=3, page=8, chunk=16, adaptive=True)
    assert device.layout.rows == (1, 2, 3) and "adaptive" in device.fingerprint
    jobs = [ask(text[:30], 9, logprobs=0) for text in STARTS]
    right = [alone(device, artefact.tokenizer, job, gather) for job in jobs]
    engine = start_engine(device, artefact.tokenizer, queue=9)
    here = [answers(pieces) for pieces in gather(engine, jobs)]
    engine.close()
    for (text, _, scored), (other_text, _, other) in zip(right, here, strict=True):
        assert text == other_text                        # greedy, and no tie is that close
        np.testing.assert_allclose([s.logprob for _, s in scored], [s.logprob for _, s in other],
                                   atol=1e-4)


def test_guesses_change_no_bit_and_no_token(device, guessing, artefact, ask, gather):
    rng, accepted = np.random.default_rng(3), []

    def verify(share):
        def run(cache, turn, guesses, guessed):
            guessed = np.where(rng.random(len(guessed)) < share, guessed, 0).astype(np.int32)
            out = guessing.verify(cache, turn, guesses, guessed)
            accepted.append(int(out[2].sum()))
            return out

        return guessing._replace(verify=run)

    jobs = [random_job(ask, rng) for _ in range(16)]
    right = [alone(verify(0.0), artefact.tokenizer, job, gather) for job in jobs]
    assert sum(accepted) == 0
    here = in_traffic(verify(0.8), artefact.tokenizer, jobs, [], rng)
    assert sum(accepted) > 5 and here == right                            # to the last bit
    for job, (text, finish, scored) in zip(jobs, right, strict=True):
        plain = alone(device, artefact.tokenizer, job, gather)
        assert (text, finish) == plain[:2]
        assert [s.token for _, s in scored] == [s.token for _, s in plain[2]]


def check_draft(guessing, artefact, draft, ask, gather, count, rng):
    """Compare requests alone, without a draft, with random traffic that one guesses for."""
    drafted, rates = with_draft(guessing, artefact, draft), []
    assert drafted.fingerprint == guessing.fingerprint

    def verify(cache, turn, guesses, guessed):
        out = drafted.verify(cache, turn, guesses, guessed)
        rates.append((int(guessed.sum()), int(out[2].sum())))
        return out

    jobs, noise = ([random_job(ask, rng) for _ in range(n)] for n in (count, count // 3))
    right = [alone(guessing, artefact.tokenizer, job, gather) for job in jobs]
    here = in_traffic(drafted._replace(verify=verify), artefact.tokenizer, jobs, noise, rng)
    assert here == right                                                  # to the last bit
    guesses, true = np.sum(rates, axis=0)
    return true / guesses


def test_a_draft_that_is_often_wrong_changes_no_bit(guessing, artefact, blurred, ask, gather):
    rate = check_draft(guessing, artefact, blurred(0.3), ask, gather, 20, np.random.default_rng(4))
    assert 0.1 < rate < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("share, least, most", [(0.0, 0.99, 1.0), (0.3, 0.1, 0.9), (9.0, 0.0, 0.1)])
def test_300_requests_with_any_draft_differ_in_no_bit(share, least, most, guessing, artefact,
                                                      blurred, ask, gather):
    rate = check_draft(guessing, artefact, blurred(share), ask, gather, 300,
                       np.random.default_rng(5))
    assert least <= rate <= most
