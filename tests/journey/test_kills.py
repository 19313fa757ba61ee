"""kill -9 at random moments, for each objective: the numbers are those of a quiet run.

Twenty kills where states differ most: no extra state, batch statistics, masks. The others, which
run the same loop on other pure functions, take three.
"""

import random
import subprocess
import time

import numpy as np
import pytest

from ssljax.core.files import read_json_lines
from ssljax.core.tree import named_leaves
from ssljax.runs.restore import load_run
from ssljax.train.ledger import summarise
from tests.contracts.cases import plugins
from tests.journey.conftest import command, environment, numbers, overrides

STEPS = 60
OFTEN, SELDOM = 20, 3
EXPERIMENTS = {"next_token": "gpt/quickstart", "simclr": "vision/simclr_digits",
               "mae": "vision/mae_digits"}
KILLS = {name: OFTEN if name in EXPERIMENTS else SELDOM for name in plugins("objectives")}


def start(objective, workdir, dataset, cache):
    """Start a run that saves every three steps, so that many kills fall into a save."""
    changes = {"total_steps": STEPS, "checkpoint_steps": 3, "log_steps": 1}
    told = (overrides(dataset, **changes) if objective == "next_token" else
            [f"--config.{name}={value}" for name, value in changes.items()])
    experiment = EXPERIMENTS.get(objective, f"vision/{objective}")
    arguments = ["pretrain", "--config", f"experiments/{experiment}.py:smoke",
                 "--workdir", workdir, *told]
    # What was compiled once is read again, so that most of a killed run is training.
    caching = {"JAX_COMPILATION_CACHE_DIR": str(cache),
               "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return subprocess.Popen(command(*arguments), env={**environment(), **caching},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(child):
    """Wait for a run to end well."""
    out, _ = child.communicate(timeout=300)
    assert child.returncode == 0, out


@pytest.mark.slow
@pytest.mark.parametrize("objective", sorted(KILLS))
def test_killed_at_random_it_repeats_the_quiet_run(objective, dataset, tmp_path):
    cache, quiet = tmp_path / "cache", tmp_path / "quiet"
    finish(start(objective, quiet, dataset, cache))
    began = time.monotonic()
    finish(start(objective, tmp_path / "again", dataset, cache))
    whole = time.monotonic() - began
    assert numbers(tmp_path / "again") == numbers(quiet)

    random_ = random.Random(objective)
    kills, runs, attempts = 0, 0, 0
    while kills < KILLS[objective] or attempts:
        workdir = tmp_path / f"killed-{runs}"
        child = start(objective, workdir, dataset, cache)
        try:
            # Once there were enough kills, the last run may end.
            child.wait(random_.uniform(0.2 * whole, 1.1 * whole) if kills < KILLS[objective]
                       else 300)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            kills, attempts = kills + 1, attempts + 1
            continue
        finish(child)
        assert numbers(workdir) == numbers(quiet)
        assert params_of(workdir) == params_of(quiet)
        accounts_for_every_second(workdir)
        runs, attempts = runs + 1, 0
    assert runs >= 1


def accounts_for_every_second(workdir):
    """The ledger's buckets add up to the time from the first start to the last line."""
    lines = read_json_lines(workdir / "ledger.jsonl")
    wall = lines[-1]["time"] - lines[0]["began"]
    assert sum(summarise(workdir / "ledger.jsonl").values()) == pytest.approx(wall, rel=0.01)


def params_of(workdir):
    """Return the bytes of every parameter of the last checkpoint."""
    run = load_run(workdir)
    assert run.step == STEPS
    return {name: np.asarray(x).tobytes() for name, x in
            named_leaves(run.params).items()}
