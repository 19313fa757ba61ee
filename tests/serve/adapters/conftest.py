"""A tiny language model with room for two adapters, and adapters as PEFT writes them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from ssljax.core.types import Model, PyTree
from ssljax.export.adapters import Room
from ssljax.export.artefact import Contents, write_artefact
from ssljax.export.golden import golden_answers
from ssljax.export.stablehlo import decoder_programs
from ssljax.models import gpt
from ssljax.nn.stack import unstacked
from ssljax.serve.artefact import Artefact, load_artefact
from ssljax.tokenizers import byte

CONTEXT, VOCAB, WIDTH, HEADS, HIDDEN, DEPTH = 48, 264, 16, 2, 24, 2
SIZES = {"self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (WIDTH, WIDTH),
         "self_attn.v_proj": (WIDTH, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH),
         "mlp.gate_proj": (HIDDEN, WIDTH), "mlp.up_proj": (HIDDEN, WIDTH),
         "mlp.down_proj": (WIDTH, HIDDEN)}


class Base(NamedTuple):
    """A model, its stacked params, and its artefact."""

    model: Model
    params: PyTree
    artefact: Artefact


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Base:
    model = gpt.make(vocab_size=VOCAB, width=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_dim=HIDDEN)
    params, _ = jax.jit(model.init)(jax.random.key(3), {"tokens": jnp.zeros((1, 4), jnp.int32)})
    scale = jnp.where(jnp.arange(VOCAB) < 128, 12.0, 4.0)[:, None]      # texts vary
    params = jax.device_get(params | {"embedding": params["embedding"] * scale})
    weights = {"params": unstacked(params)}
    programs = decoder_programs(model, weights, adapters=Room(2, 4))
    kept = {name: programs[name] for name in ("score", "embed", "prefill", "decode", "verify")}
    path = tmp_path_factory.mktemp("room") / "base"
    write_artefact(path, Contents(
        about={"kind": "decoder", "name": "base", "max_context": CONTEXT, "vocab_size": VOCAB,
               "adapters": {"count": 2, "rank": 4},
               "lineage": {"imported_from": "some/llama@abc", "architecture": "llama"},
               "tokenizer": {"name": "bpe", "file": "tokenizer.json",
                             "fingerprint": byte.make().fingerprint}},
        programs=kept, weights=weights,
        golden=golden_answers(kept, weights, vocab_size=VOCAB, context=CONTEXT),
        files={"tokenizer.json": byte.definition().encode()}))
    return Base(model, params, load_artefact(path))


@pytest.fixture(scope="session")
def write_adapter(tmp_path_factory) -> Callable[..., Path]:
    """Return write(seed, tensors={...}, **config) -> folder; tensors replace or take away."""
    def write(seed: int, *, rank: int = 3, modules: tuple[str, ...] = tuple(SIZES),
              tensors: dict[str, Any] | None = None, **config: Any) -> Path:
        rng, found = np.random.default_rng(seed), {}
        for layer in range(DEPTH):
            for module in modules:
                outputs, inputs = SIZES[module]
                name = f"base_model.model.model.layers.{layer}.{module}"
                found[f"{name}.lora_A.weight"] = rng.normal(size=(rank, inputs))
                found[f"{name}.lora_B.weight"] = rng.normal(size=(outputs, rank))
        found |= tensors or {}
        folder = tmp_path_factory.mktemp("adapter")
        save_file({name: np.asarray(t, np.float32) for name, t in found.items() if t is not None},
                  folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps({
            "peft_type": "LORA", "r": rank, "lora_alpha": 2, "bias": "none", "use_dora": False,
            "task_type": "CAUSAL_LM", "base_model_name_or_path": "some/llama", "lora_dropout": 0.1,
            "target_modules": sorted({module.split(".")[1] for module in modules}),
            "modules_to_save": None, "megatron_core": "megatron.core", "loftq_config": {},
            "rank_pattern": {}, "inference_mode": True, **config}))
        return folder

    return write
