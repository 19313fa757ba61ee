"""Methods that were broken collapse, and the alarm says so within 200 steps; whole ones do not."""

import importlib.util
import pathlib

import pytest

TOOL = pathlib.Path(__file__).parents[2] / "tools/gates/alarm.py"


def gate():
    """Return the tool as a module."""
    spec = importlib.util.spec_from_file_location("alarm_gate", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "metrics"), [
    ("simsiam_no_stop_gradient", {"embedding_std", "projection_std"}),
    ("byol_no_predictor", {"target_std", "loss"}), ("vicreg_no_variance", {"loss"}),
    ("dino_no_centring", {"teacher_kl_uniform"}), ("swav_dead_codebook", {"prototype_kl_uniform"})])
def test_a_broken_method_is_noticed_within_200_steps(fault, metrics):
    row = gate().run(fault, data="", seed=0, steps=200)
    assert row["fired_at"] <= 200
    assert row["by"] in metrics
    assert row["by"] in row["message"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["simclr", "dino", "swav"])
def test_a_whole_method_is_left_alone(method):
    assert gate().run(method, data="", seed=0, steps=200)["fired_at"] is None
