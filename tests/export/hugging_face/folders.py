"""Tiny models in Hugging Face's form, of weights that follow from their names.

Numpy and safetensors only: transformers' side of the tests (reference.py) reads the same folders.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

V, D, F, LAYERS = 264, 8, 20, 2
CONFIGS: Mapping[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": V,
             "n_positions": 32, "n_embd": D, "n_layer": LAYERS, "n_head": 2, "n_inner": F,
             "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
             "bos_token_id": 256, "eos_token_id": 256},
    "llama": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": V,
              "hidden_size": D, "intermediate_size": F, "num_hidden_layers": LAYERS,
              "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
              "max_position_embeddings": 32, "rms_norm_eps": 1e-5, "attention_bias": True,
              "tie_word_embeddings": False, "bos_token_id": 256, "eos_token_id": 256,
              "rope_theta": 500.0,
              "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
    "vit": {"model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": D,
            "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": F,
            "hidden_act": "gelu", "layer_norm_eps": 1e-12, "image_size": 8, "patch_size": 4,
            "num_channels": 3, "qkv_bias": True,
            "id2label": {"0": "cat", "1": "dog", "2": "owl"}},
}


def shapes(kind: str) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a model with a head, as transformers names them."""
    found: dict[str, tuple[int, ...]] = {}

    def linear(name: str, outputs: int, inputs: int, *, turned: bool = True,
               bias: bool = True) -> None:
        found[f"{name}.weight"] = (outputs, inputs) if turned else (inputs, outputs)
        if bias:
            found[f"{name}.bias"] = (outputs,)

    def norm(name: str, *, bias: bool = True) -> None:
        found[f"{name}.weight"] = (D,)
        if bias:
            found[f"{name}.bias"] = (D,)

    for i in range(LAYERS):
        if kind == "gpt2":
            at = f"transformer.h.{i}."
            norm(f"{at}ln_1")
            norm(f"{at}ln_2")
            for name, out, into in (("attn.c_attn", 3 * D, D), ("attn.c_proj", D, D),
                                    ("mlp.c_fc", F, D), ("mlp.c_proj", D, F)):
                linear(at + name, out, into, turned=False)
        elif kind == "llama":
            at = f"model.layers.{i}."
            norm(f"{at}input_layernorm", bias=False)
            norm(f"{at}post_attention_layernorm", bias=False)
            for name, out in (("q", D), ("k", D // 2), ("v", D // 2), ("o", D)):
                linear(f"{at}self_attn.{name}_proj", out, D)
            for name, out, into in (("gate", F, D), ("up", F, D), ("down", D, F)):
                linear(f"{at}mlp.{name}_proj", out, into, bias=False)
        else:
            at = f"vit.encoder.layer.{i}."
            norm(f"{at}layernorm_before")
            norm(f"{at}layernorm_after")
            for name in ("query", "key", "value"):
                linear(f"{at}attention.attention.{name}", D, D)
            for name, out, into in (("attention.output.dense", D, D), ("intermediate.dense", F, D),
                                    ("output.dense", D, F)):
                linear(at + name, out, into)
    return found | {
        "gpt2": {"transformer.wte.weight": (V, D), "transformer.wpe.weight": (32, D),
                 "transformer.ln_f.weight": (D,), "transformer.ln_f.bias": (D,)},
        "llama": {"model.embed_tokens.weight": (V, D), "model.norm.weight": (D,),
                  "lm_head.weight": (V, D)},
        "vit": {"vit.embeddings.cls_token": (1, 1, D),
                "vit.embeddings.position_embeddings": (1, 5, D),
                "vit.embeddings.patch_embeddings.projection.weight": (D, 3, 4, 4),
                "vit.embeddings.patch_embeddings.projection.bias": (D,),
                "vit.layernorm.weight": (D,), "vit.layernorm.bias": (D,),
                "classifier.weight": (3, D), "classifier.bias": (3,)},
    }[kind]


def tensors(kind: str) -> dict[str, np.ndarray]:
    """Return the weights: drawn by a seed of each name, scales of norms around 1."""
    def one(name: str, shape: tuple[int, ...]) -> np.ndarray:
        drawn = np.random.default_rng(zlib.crc32(name.encode())).normal(0, 0.3, shape)
        is_scale = len(shape) == 1 and name.endswith("weight")
        return (drawn + is_scale).astype(np.float32)

    return {name: one(name, shape) for name, shape in shapes(kind).items()}


def write(folder: Path, kind: str, *, config: Mapping[str, Any] | None = None,
          weights: Mapping[str, np.ndarray] | None = None) -> Path:
    """Write a model's folder, with some fields of its config or other weights if told."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIGS[kind], **(config or {})}))
    save_file(dict(weights if weights is not None else tensors(kind)),
              folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def inputs(kind: str) -> np.ndarray:
    """Return tokens i32 [2, 7], or image f32 [2, 8, 8, 3]."""
    draw = np.random.default_rng(1)
    if kind == "vit":
        return draw.random((2, 8, 8, 3), np.float32)
    return draw.integers(257, size=(2, 7), dtype=np.int32)
