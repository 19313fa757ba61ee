"""A model divided over devices answers as one device does, and alike at any load."""

import os
import subprocess
import sys

import pytest

from ssljax.core.errors import ServeError
from ssljax.serve.mesh import place_over

CHILD = """
import sys, threading
import jax
from pathlib import Path
from ssljax.serve.artefact import load_artefact
from ssljax.serve.device import make_device
from ssljax.serve.engine import start_engine
from ssljax.serve.jobs import Job, Sampling
from ssljax.serve.mesh import place_over

def answers(artefact, device, jobs):
    engine, done = start_engine(device, artefact.tokenizer, queue=99), threading.Semaphore(0)
    found = [[] for _ in jobs]
    def receiver(index):
        def receive(piece):
            assert piece.error is None, piece.error
            found[index] += [scored for _, scored in piece.scored]
            if piece.finish:
                done.release()
        return receive
    engine.submit([(job, receiver(i)) for i, job in enumerate(jobs)])
    for _ in jobs:
        assert done.acquire(timeout=300)
    engine.close()
    return found

assert jax.device_count() == 2
jobs = [Job((256, *text), "", 12, Sampling(temperature, seed=5), logprobs=0)
        for text in (b"hello world", b"def f(x): return x", b"aaaa") for temperature in (0.0, 0.8)]
one = load_artefact(Path(sys.argv[1]))
two = load_artefact(Path(sys.argv[1]), place=place_over(2))
right = answers(one, make_device(one, slots=3, page=8, chunk=16), jobs)
device = make_device(two, slots=3, page=8, chunk=16)
leaf = jax.tree.leaves(device.new_cache())[0]
assert leaf.addressable_shards[0].data.shape[1] == leaf.shape[1] // 2
here = answers(two, device, jobs)
for a, b in zip(right, here):
    assert [s.token for s in a] == [s.token for s in b]
    assert all(abs(x.logprob - y.logprob) < 1e-4 for x, y in zip(a, b))
assert [answers(two, device, [job])[0] for job in jobs] == here          # to the last bit
assert make_device(one, slots=3).fingerprint != make_device(two, slots=3).fingerprint
"""


@pytest.mark.slow
def test_two_devices_answer_as_one_and_alike_at_any_load(artefact_path):
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run([sys.executable, "-c", CHILD, str(artefact_path)], env=env, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(ServeError, match="expected 1 to that many"):
        place_over(1000)
