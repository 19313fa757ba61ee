"""The runs of joint-embedding methods have the numbers of their papers."""


import pytest

from ssljax.runs.config import load_config, to_plain

METHODS = ("simclr", "moco_v2", "moco_v3", "byol", "simsiam", "swav", "barlow_twins", "vicreg",
           "lejepa")
every_method = pytest.mark.parametrize("method", METHODS)


def plain(method: str, size: str) -> dict:
    config = load_config(f"experiments/vision/{method}.py:{size}", ["--config.data.path=/data"])
    return to_plain(config)


@every_method
def test_small_data_needs_no_large_batch(method):
    assert plain(method, "")["batch_size"] <= 256
    assert plain(method, "cpu")["batch_size"] <= 256


@pytest.mark.parametrize(("method", "size", "lr"), [
    ("simclr", "imagenet", 0.3 * 4096 / 256), ("simclr", "cifar10", 0.12),
    ("moco_v3", "imagenet", 1.5e-4 * 4096 / 256), ("simsiam", "cifar10", 0.06),
    ("barlow_twins", "imagenet", 0.2 * 2048 / 256), ("lejepa", "imagenet", 5e-4)])
def test_published_learning_rates_scale_with_the_batch(method, size, lr):
    assert plain(method, size)["optim"]["lr"] == pytest.approx(lr)


def test_judgements_read_the_data_of_the_run():
    evals = plain("byol", "cpu")["evals"]
    assert {spec["train_source"]["path"] for spec in evals.values() if "train_source" in spec} == {
        "/data"}
