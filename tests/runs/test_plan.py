"""Planning without the hardware: arithmetic and compiler agree, the best mesh is proposed."""

import dataclasses
import json
import math

import pytest

from ssljax.cli.main import main
from ssljax.core.errors import ConfigError
from ssljax.core.sharding import AXES
from ssljax.runs.build import build_method
from ssljax.runs.candidates import factorisations, given, overrides, propose, used
from ssljax.runs.config import load_config, to_plain, with_defaults
from ssljax.runs.plan_process import run_plan
from ssljax.runs.plan_text import plan_text, quantity, size
from ssljax.runs.workload import describe_step
from ssljax.train.chips import CHIPS
from ssljax.train.flops import transformer_flops

GPT = "experiments/gpt/quickstart.py:smoke"
DIGITS = "experiments/vision/simclr_digits.py:smoke"


def config_of(path=GPT, *changes):
    return to_plain(load_config(path, [f"--config.{c}" for c in changes]))


def step_of(path=GPT, *changes):
    config = with_defaults(config_of(path, *changes))
    return describe_step(config, build_method(config))


def test_arithmetic_equals_the_compiler_on_eight_devices():
    report = run_plan(config_of(), devices=8, chip="h100", mesh={"fsdp": 4, "tensor": 2})
    (row,) = report["candidates"]
    assert used(row["mesh"]) == {"fsdp": 4, "tensor": 2} and report["given"]
    held = sum(row["bytes"][k] for k in ("parameters", "optimizer", "other", "batch"))
    # Arguments that the program does not read (the ids of a batch without views) are left out.
    assert held - 1024 < row["compiled"]["arguments"] <= held
    assert row["compiled"]["donated"] > 0.999
    found = {(c["kind"], c["axes"]) for c in row["compiled"]["collectives"]}
    assert ("all-gather", "fsdp") in found and ("all-reduce", "tensor") in found
    assert report["flops"]["per_unit"] == transformer_flops(
        blocks=2 * (4 * 64**2 + 3 * 64 * 192), vocab_size=4096, width=64, depth=2, seq_len=64)


def test_the_verb_proposes_a_mesh_for_64_devices_and_prints_it(capsys):
    changes = ["--config.batch_size=64", "--config.model.num_heads=4"]
    assert main(["plan", "--config", GPT, "--devices", "64", "--chip", "v5p", "--confirm", "1",
                 *changes]) == 0
    text = capsys.readouterr().out
    for expected in ("369K total", "Best of", "Collectives of a step", "MFU", "--config.mesh."):
        assert expected in text
    command = text.splitlines()[-1].removeprefix("Run it with: ").split()
    mesh = to_plain(load_config(GPT, command))["mesh"]
    assert math.prod(mesh.values()) == 64 and set(mesh) == set(AXES)


@pytest.mark.parametrize("arguments, message", [
    (["--chip", "h20"], 'did you mean "h200"'),
    (["--devices", "1000"], "expected 1 to 512"),
    (["--confirm", "0"], "at least 1"),
    (["--config.mesh.fsdp=many"], "whole number of devices"),
])
def test_what_cannot_be_planned_is_said_before_anything_starts(arguments, message, capsys):
    assert main(["plan", "--config", GPT, "--devices", "8", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_mesh_that_does_not_divide_is_an_error_with_the_reason():
    step = step_of()
    with pytest.raises(ConfigError, match="batch_size 8 is not a multiple of 16"):
        given(step, dict.fromkeys(AXES, 1) | {"data": 16}, CHIPS["h100"])
    with pytest.raises(ConfigError, match="2 does not divide over 4 devices of mesh axis tensor"):
        given(step, dict.fromkeys(AXES, 1) | {"tensor": 4}, CHIPS["h100"])
    with pytest.raises(ConfigError, match="No mesh of 7 devices fits"):
        propose(step, 7, CHIPS["h100"])


def test_every_factorisation_is_listed_once():
    found = list(factorisations(64, 3))
    assert len(found) == len(set(found)) == math.comb(8, 2)
    assert all(math.prod(f) == 64 for f in found)


def test_candidates_divide_and_are_ordered_by_fit_and_time():
    step = step_of(GPT, "model.num_heads=4")
    found = propose(step, 8, CHIPS["h100"])
    assert all(math.prod(c.sizes.values()) == 8 for c in found)
    assert [c.order() for c in found] == sorted(c.order() for c in found)
    assert {"data", "fsdp", "tensor", "context"} <= {a for c in found for a in used(c.sizes)}
    assert "expert" not in {a for c in found for a in used(c.sizes)}       # it has no experts


def test_accumulation_is_suggested_where_memory_is_short():
    step = step_of(GPT, "batch_size=64")
    roomy = propose(step, 4, CHIPS["h100"])[0]
    assert roomy.accumulate == 1 and roomy.fits
    small = dataclasses.replace(CHIPS["h100"], memory=roomy.estimate.state + 8e6)
    tight = propose(step, 4, small)[0]
    assert tight.fits and tight.accumulate > 1
    assert f"--config.accumulate={tight.accumulate}" in overrides(tight, 1)
    nothing = propose(step, 4, dataclasses.replace(small, memory=1e5))[0]
    assert not nothing.fits


def test_methods_that_compare_rows_are_never_accumulated():
    step = step_of(DIGITS)
    assert step.coupled and step.unit == "images"
    tiny = dataclasses.replace(CHIPS["h100"], memory=1e5)
    assert {c.accumulate for c in propose(step, 4, tiny)} == {1}


def test_state_shrinks_as_the_mesh_grows():
    step = step_of()
    held = [sum(step.state_bytes(dict.fromkeys(AXES, 1) | {"fsdp": n}).values())
            for n in (1, 2, 4, 8)]
    assert held == sorted(held, reverse=True) and held[0] > held[-1]


def test_numbers_are_written_for_people():
    assert (quantity(0), quantity(123_587_328), quantity(999_600)) == ("0", "124M", "1M")
    assert (size(1.5e9), size(2e6)) == ("1.5 GB", "2.0 MB")


@pytest.mark.slow
@pytest.mark.parametrize("path, changes", [
    (GPT, ("model.num_heads=4",)),
    ("experiments/gpt/gpt2_124m.py:smoke", ("model.width=512", "batch_size=16")),
    (DIGITS, ()),
])
def test_the_proposal_is_the_best_of_all_meshes_when_all_are_compiled(path, changes):
    config = config_of(path, *changes)
    few = run_plan(config, devices=4, chip="h100", mesh=None, confirm=3)
    everything = run_plan(config, devices=4, chip="h100", mesh=None, confirm=1000)
    times = {json.dumps(r["mesh"]): r["compiled"]["seconds"] for r in everything["candidates"]
             if r["compiled"] and r["compiled"]["fits"]}
    assert len(times) > 3
    assert times[json.dumps(few["candidates"][0]["mesh"])] <= 1.02 * min(times.values())


@pytest.mark.slow
def test_gpt2_for_512_devices():
    config = config_of("experiments/gpt/gpt2_124m.py", "batch_size=512")
    report = run_plan(config, devices=512, chip="v5p", mesh=None, confirm=1)
    best = report["candidates"][0]
    assert best["compiled"]["fits"] and math.prod(best["mesh"].values()) == 512
    held = sum(best["bytes"][k] for k in ("parameters", "optimizer", "other", "batch"))
    assert best["compiled"]["arguments"] == pytest.approx(held, rel=1e-3)
    assert "124M total" in plan_text(report)
