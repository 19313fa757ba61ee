"""Every strategy gives one device's loss, gradients and metrics: GPT, mixture of experts, MAE."""

import pytest

from ssljax.core.rng import hash64
from tests.parallel.cases import KINDS, MESHES, MODELS, alone, assert_as_alone, loss_and_gradients

# Each axis once, on the smallest network that uses it; the axis types take turns.
EACH = (("gpt", {"data": 8}, "explicit", {"accumulate": 2}), ("gpt", {"fsdp": 8}, "auto", {}),
        ("gpt", {"data": 2, "tensor": 4}, "explicit", {}),
        ("gpt", {"data": 2, "context": 4}, "explicit", {"attention": "ring"}),
        ("moe", {"expert": 4, "fsdp": 2}, "explicit", {}),
        ("gpt", {"stage": 2, "data": 2, "fsdp": 2}, "explicit",
         {"pipeline_microbatches": 4, "pipeline_repeats": 2}))
VARIANTS = {"plain": {}, "accumulate": {"accumulate": 2}, "ring": {"attention": "ring"},
            "rounds": {"pipeline_microbatches": 4, "pipeline_repeats": 2},
            "remat": {"remat": "full"}}


@pytest.mark.parametrize("network, sizes, kind, options", EACH, ids=str)
def test_each_axis_equals_one_device(network, sizes, kind, options):
    assert_as_alone(network, sizes, kind, **options)


@pytest.mark.parametrize("network", ["moe", pytest.param("mae", marks=pytest.mark.slow)])
def test_a_chosen_mesh_equals_one_device(network):
    number = hash64(network)
    assert_as_alone(network, MESHES[number % len(MESHES)], sorted(KINDS)[number % 2])


@pytest.mark.parametrize("network", ["moe", pytest.param("mae", marks=pytest.mark.slow)])
def test_microbatches_equal_the_whole_batch(network):
    """Denominators and routers' losses are sums: padding in one microbatch cannot bias them."""
    assert_as_alone(network, None, accumulate=4)


@pytest.mark.slow
@pytest.mark.parametrize("network, sizes", [("gpt", {"stage": 2, "data": 2, "context": 2}),
                                            ("moe", {"stage": 2, "expert": 2, "fsdp": 2})])
def test_a_pipeline_computes_in_bfloat16(network, sizes):
    """XLA's CPU compiler aborts on 16-bit sums over stages; see core.local.reducible."""
    loss, _ = loss_and_gradients(network, sizes, "explicit", compute_dtype="bfloat16")
    assert loss == pytest.approx(alone(network)[0], rel=0.01)


def applies(sizes: dict[str, int], variant: str) -> bool:
    """Say whether a variant means anything on a mesh."""
    if variant == "rounds":
        return sizes.get("stage", 1) == 2       # four layers: two rounds of two stages
    return variant != "ring" or sizes.get("context", 1) > 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", MESHES, ids=str)
@pytest.mark.parametrize("network, variant", [
    (network, variant) for network in MODELS for variant in VARIANTS])
def test_every_combination_equals_one_device(network, variant, sizes, kind):
    if not applies(sizes, variant):
        pytest.skip("the variant means nothing on this mesh, or has too few layers")
    assert_as_alone(network, sizes, kind, **VARIANTS[variant])
