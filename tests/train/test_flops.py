"""Model FLOPs: the formula, the count from the jaxpr and the compiler's own agree."""

import jax
import pytest

from ssljax.core.errors import ConfigError
from ssljax.runs.build import build_method
from ssljax.train.chips import CHIPS, chip, chip_name
from ssljax.train.flops import mfu, step_flops, transformer_flops
from ssljax.train.state import blank_batch, with_views
from tests.contracts.cases import CASES, OPTIM, config_of

GPT = {**OPTIM, "batch_size": 4, "pretext": {"name": "next_token", "seq_len": 64},
       "objective": {"name": "next_token"},
       "model": {"name": "gpt", "vocab_size": 256, "width": 128, "depth": 3, "num_heads": 4,
                 "layers": "unroll"}}
IMAGES = {"size": 32, "channels": 3, "patch_size": 4}
VIT = {"name": "vit", "image_size": 32, "channels": 3, "patch_size": 4, "width": 128, "depth": 3,
       "num_heads": 4, "layers": "unroll"}
DECODER = {**VIT, "name": "vit_decoder", "width": 64, "depth": 1}
MAE = {**OPTIM, "batch_size": 4, "pretext": {"name": "masked_patches", **IMAGES}, "model": VIT,
       "objective": {"name": "mae", "patch_size": 4, "decoder": DECODER}}


def flops_of(config, *, causal):
    method = build_method(config)
    return step_flops(method.objective, method.pretext.views, method.pretext.spec,
                      config["batch_size"], key=method.key, causal=causal)


def compiled_flops(config) -> float:
    """Return the compiler's own count of the loss and its gradient; layers must be unrolled."""
    method = build_method(config)

    def start(key):
        blank = blank_batch(method.pretext.spec, config["batch_size"])
        batch = with_views(method.pretext.views, key, blank)
        return *method.objective.init(key, batch), batch

    shapes = jax.eval_shape(start, method.key)
    gradient = jax.jit(jax.value_and_grad(method.objective.loss, has_aux=True))
    return gradient.lower(*shapes, method.key).compile().cost_analysis()["flops"]


MOE = {**GPT, "model": {**GPT["model"], "experts": 4, "experts_per_token": 2}}


@pytest.mark.parametrize("config", [GPT, MAE], ids=["gpt", "mae"])
def test_the_count_is_the_compilers_but_for_elementwise_work(config):
    # The compiler also counts norms, rotations, softmax and the optimizer's like: a few operations
    # a value, so 2 to 6 % at a width of 128 and less than 1 % at a width of 1024; and the half of
    # causal attention that the model does not need.
    ratio = compiled_flops(config) / flops_of(config, causal=False).total
    assert 1.0 < ratio < 1.07, ratio


def test_a_gpt_is_the_formula():
    found = flops_of(GPT, causal=True)
    blocks = 3 * (4 * 128**2 + 3 * 128 * 384)
    formula = transformer_flops(blocks=blocks, vocab_size=256, width=128, depth=3, seq_len=64)
    assert found.total == 4 * 64 * formula
    assert found.non_embedding == found.params - 256 * 128
    assert found.active == found.params


def test_a_mixture_counts_the_experts_that_a_token_meets():
    dense, mixture = (flops_of(c, causal=True) for c in (GPT, MOE))
    matrices = 3 * 128 * 384 * 3                     # of one expert, in three blocks
    assert mixture.params - dense.params == 3 * matrices + 3 * 128 * 4
    assert mixture.active - dense.params == matrices + 3 * 128 * 4
    # The router reads what a gradient flows through; a dense block has one expert's matrices.
    assert mixture.blocks - dense.blocks == 4 * 64 * 6 * (matrices + 3 * 128 * 4)
    assert mixture.attention == dense.attention


def test_a_mixture_is_the_compilers_but_for_the_dense_products_of_a_cpu():
    # XLA's CPU compiler multiplies every expert with every row, so its count has E times the
    # experts' products: take ours out and theirs back in.
    found = flops_of(MOE, causal=False)
    experts = 4 * 64 * 6 * 2 * 3 * 128 * 384 * 3
    ratio = compiled_flops(MOE) / (found.total + (4 - 1) * experts)
    assert 0.95 < ratio < 1.1, ratio


def test_a_masked_autoencoder_counts_the_patches_it_encodes():
    few = flops_of({**MAE, "pretext": {**MAE["pretext"], "ratio": 0.75}, "objective": {
        **MAE["objective"], "ratio": 0.75}}, causal=False)
    many = flops_of({**MAE, "pretext": {**MAE["pretext"], "ratio": 0.5}, "objective": {
        **MAE["objective"], "ratio": 0.5}}, causal=False)
    blocks, patches, into_decoder = 6 * 12 * 128**2 * 3, 4 * 48 * 128, 6 * 128 * 64
    per_patch = blocks + patches + into_decoder
    assert many.blocks - few.blocks == 4 * 16 * per_patch


def test_layers_and_remat_change_the_program_and_not_the_count():
    counts = {flops_of({**GPT, "model": {**GPT["model"], "layers": layers, "remat": remat}},
                       causal=True).total for layers in ("scan", "unroll")
              for remat in ("none", "full")}
    assert len(counts) == 1


@pytest.mark.parametrize("objective", CASES)
def test_every_objective_can_be_counted(objective):
    found = flops_of(config_of(objective), causal=False)
    assert found.total > 0 and found.non_embedding <= found.params


def test_utilisation_is_a_fraction_of_the_peak():
    # Llama 3 8B as torchtitan measured it: 6,667 tokens/s on an H100 is about 35 % causal.
    flops = transformer_flops(blocks=6.98e9, vocab_size=128_256, width=4096, depth=32,
                              seq_len=8192)
    assert mfu(6667, flops, 1, CHIPS["h100"].bf16) == pytest.approx(0.35, abs=0.02)
    assert mfu(8 * 6667, flops, 8, CHIPS["h100"].bf16) == mfu(6667, flops, 1, CHIPS["h100"].bf16)


@pytest.mark.parametrize("kind, name", [
    ("NVIDIA H200", "h200"), ("NVIDIA H100 80GB HBM3", "h100"), ("TPU v5p", "v5p"),
    ("TPU v5 lite", "v5e"), ("TPU v5", "v5p"), ("TPU v6 lite", "v6e"), ("cpu", "cpu"),
    ("Radeon", None)])
def test_chips_by_the_name_jax_gives_them(kind, name):
    assert chip_name(kind) == name


def test_an_unknown_chip_names_the_nearest():
    with pytest.raises(ConfigError, match='did you mean "h200"'):
        chip("h20")
