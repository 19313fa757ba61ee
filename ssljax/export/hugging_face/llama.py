"""Llama: rotary positions, RMSNorm, SwiGLU; the block of our own language model.

Touvron et al. 2023, https://arxiv.org/abs/2302.13971; the names are those of transformers'
LlamaForCausalLM, whose matrices are [outputs, inputs]. Read and written. Grouped queries are read
by repeating each key and value head for its group: the same numbers, with the cache of as many
heads as there are queries.
"""

from typing import Any

import numpy as np

from ssljax.export.hugging_face.architecture import Architecture, Config, Spec, require
from ssljax.export.hugging_face.rules import Rule, Tensors

BLOCK, LAYER = "decoder/blocks/", "layers.{}."
PARTS = tuple(f"{LAYER}self_attn.{name}_proj" for name in "qkv")
MLP = (("gate", "gate_proj"), ("up", "up_proj"), ("down", "down_proj"))
NORMS = ((f"{BLOCK}norm_attention", f"{LAYER}input_layernorm"),
         (f"{BLOCK}norm_mlp", f"{LAYER}post_attention_layernorm"), ("decoder/norm", "norm"))
RULES = (
    Rule("embedding", ("embed_tokens.weight",), inputs=1),
    Rule(f"{BLOCK}attention/w_qkv", tuple(f"{p}.weight" for p in PARTS), 1, turned=True, stack=1),
    Rule(f"{BLOCK}attention/w_out", (f"{LAYER}self_attn.o_proj.weight",), 2, turned=True),
    *(Rule(f"{BLOCK}mlp/w_{ours}", (f"{LAYER}mlp.{theirs}.weight",), 1, turned=True)
      for ours, theirs in MLP),
    *(Rule(f"{ours}/scale", (f"{theirs}.weight",)) for ours, theirs in NORMS),
)
BIASES = (Rule(f"{BLOCK}attention/b_qkv", tuple(f"{p}.bias" for p in PARTS)),
          Rule(f"{BLOCK}attention/b_out", (f"{LAYER}self_attn.o_proj.bias",)))
HEAD = Rule("w_vocab", ("lm_head.weight",), inputs=1)


def spec(config: Config) -> dict[str, Any]:
    """Return the spec of models/gpt.py."""
    width, heads = config["hidden_size"], config["num_attention_heads"]
    rope = {"rope_theta": config.get("rope_theta", 10_000.0), **(config.get("rope_scaling") or {}),
            **(config.get("rope_parameters") or {})}
    require({**config, "rope_type": rope.get("rope_type", rope.get("type", "default"))},
            {"hidden_act": "silu", "mlp_bias": False, "rope_type": "default",
             "head_dim": (width // heads, None)})
    return {"name": "gpt", "vocab_size": config["vocab_size"], "width": width,
            "depth": config["num_hidden_layers"], "num_heads": heads,
            "mlp_dim": config["intermediate_size"], "rope_base": float(rope["rope_theta"]),
            "norm_epsilon": config["rms_norm_eps"],
            "attention_bias": config.get("attention_bias", False),
            "tied": config.get("tie_word_embeddings", False)}


def rules(spec: Spec) -> tuple[Rule, ...]:
    """Return which weights are which."""
    return (*RULES, *(BIASES if spec.get("attention_bias") else ()),
            *(() if spec.get("tied", True) else (HEAD,)))


def config_of(spec: Spec, context: int, mlp_dim: int) -> dict[str, Any]:
    """Return config.json of a spec of ours without other options than Llama's."""
    heads = spec["num_heads"]
    base = float(spec.get("rope_base", 10_000.0))
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "vocab_size": spec["vocab_size"], "hidden_size": spec["width"],
            "intermediate_size": mlp_dim, "num_hidden_layers": spec["depth"],
            "num_attention_heads": heads, "num_key_value_heads": heads,
            "head_dim": spec["width"] // heads, "hidden_act": "silu",
            "max_position_embeddings": context, "rms_norm_eps": spec.get("norm_epsilon", 1e-6),
            # Both spellings: transformers 5 reads the second, older ones and other tools the first.
            "rope_theta": base, "rope_parameters": {"rope_type": "default", "rope_theta": base},
            "attention_bias": spec.get("attention_bias", False), "mlp_bias": False,
            "tie_word_embeddings": spec.get("tied", True)}


def prepare(tensors: Tensors, config: Config) -> Tensors:
    """Repeat the heads of keys and values until there are as many as of queries."""
    heads = config["num_attention_heads"]
    groups = config.get("num_key_value_heads") or heads
    if groups == heads:
        return tensors

    def repeated(tensor: np.ndarray) -> np.ndarray:
        split = tensor.reshape(groups, -1, *tensor.shape[1:])
        return np.repeat(split, heads // groups, axis=0).reshape(-1, *tensor.shape[1:])

    return {name: repeated(t) if ".k_proj." in name or ".v_proj." in name else t
            for name, t in tensors.items()}


ARCHITECTURE = Architecture(spec, rules, "model.", r".*rotary_emb\.inv_freq|lm_head\.weight",
                            prepare)
