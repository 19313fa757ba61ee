"""GPT-2: learned positions, LayerNorm, GELU by tanh, biases, one table.

Radford et al. 2019; the names are those of transformers' GPT2LMHeadModel, whose matrices are
[inputs, outputs]. Read and written.
"""

from typing import Any

from ssljax.export.hugging_face.architecture import Architecture, Config, Spec, require
from ssljax.export.hugging_face.rules import Rule

BLOCK, LAYER = "decoder/blocks/", "h.{}."
# (weight of ours, of theirs, axes of inputs); every matrix has its bias beside it.
MATRICES = (("attention/{}_qkv", "attn.c_attn", 1), ("attention/{}_out", "attn.c_proj", 2),
            ("mlp/{}_up", "mlp.c_fc", 1), ("mlp/{}_down", "mlp.c_proj", 1))
NORMS = ((f"{BLOCK}norm_attention", f"{LAYER}ln_1"), (f"{BLOCK}norm_mlp", f"{LAYER}ln_2"),
         ("decoder/norm", "ln_f"))
RULES = (
    Rule("embedding", ("wte.weight",), inputs=1),
    Rule("position_table", ("wpe.weight",), inputs=1),
    *(Rule(BLOCK + ours.format("w"), (f"{LAYER}{theirs}.weight",), inputs)
      for ours, theirs, inputs in MATRICES),
    *(Rule(BLOCK + ours.format("b"), (f"{LAYER}{theirs}.bias",)) for ours, theirs, _ in MATRICES),
    *(Rule(f"{ours}/{name}", (f"{theirs}.{weight}",)) for ours, theirs in NORMS
      for name, weight in (("scale", "weight"), ("bias", "bias"))),
)
OPTIONS = {"positions": "learned", "norm": "layer", "mlp": "gelu", "attention_bias": True}


def spec(config: Config) -> dict[str, Any]:
    """Return the spec of models/gpt.py."""
    require(config, {"activation_function": ("gelu_new", "gelu_pytorch_tanh"),
                     "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False,
                     "add_cross_attention": False, "tie_word_embeddings": True})
    width = config["n_embd"]
    return {"name": "gpt", "vocab_size": config["vocab_size"], "width": width,
            "depth": config["n_layer"], "num_heads": config["n_head"],
            "mlp_dim": config.get("n_inner") or 4 * width, "context": config["n_positions"],
            "norm_epsilon": config.get("layer_norm_epsilon", 1e-5), **OPTIONS}


def config_of(spec: Spec) -> dict[str, Any]:
    """Return config.json of a spec of ours whose options are OPTIONS."""
    return {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2",
            "vocab_size": spec["vocab_size"], "n_positions": spec["context"],
            "n_embd": spec["width"], "n_layer": spec["depth"], "n_head": spec["num_heads"],
            "n_inner": spec.get("mlp_dim") or 4 * spec["width"], "activation_function": "gelu_new",
            "layer_norm_epsilon": spec.get("norm_epsilon", 1e-6), "tie_word_embeddings": True}


# Older files hold the causal mask as a tensor, and the tied head a second time.
ARCHITECTURE = Architecture(spec, lambda spec: RULES, "transformer.",
                            r"h\.\d+\.attn\.(masked_)?bias|lm_head\.weight")
