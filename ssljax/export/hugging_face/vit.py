"""Vision transformer: learned positions, exact GELU, biases, a class token. Read only.

Dosovitskiy et al. 2021; the names are those of transformers' ViTModel and
ViTForImageClassification, whose matrices are [outputs, inputs]. `pooled` of ours is the class token
after the last norm, which is what ViTForImageClassification's classifier reads; the tanh layer of
ViTModel's pooler is left out.
"""

from typing import Any

import numpy as np

from ssljax.core.errors import ArtefactError
from ssljax.export.hugging_face.architecture import Architecture, Config, require
from ssljax.export.hugging_face.rules import Rule, Tensors

BLOCK, LAYER = "encoder/blocks/", "encoder.layer.{}."
PARTS = tuple(f"{LAYER}attention.attention.{name}" for name in ("query", "key", "value"))
MATRICES = (("attention/{}_out", "attention.output.dense", 2),
            ("mlp/{}_up", "intermediate.dense", 1), ("mlp/{}_down", "output.dense", 1))
NORMS = ((f"{BLOCK}norm_attention", f"{LAYER}layernorm_before"),
         (f"{BLOCK}norm_mlp", f"{LAYER}layernorm_after"), ("encoder/norm", "layernorm"))
PATCH = "embeddings.patch_embeddings.projection"
RULES = (
    Rule("w_patch", (f"{PATCH}.weight",), 1), Rule("b_patch", (f"{PATCH}.bias",)),
    Rule("class_token", ("embeddings.cls_token",), 1),
    Rule("position_table", ("embeddings.position_embeddings",), 1),
    Rule(f"{BLOCK}attention/w_qkv", tuple(f"{p}.weight" for p in PARTS), 1, turned=True, stack=1),
    Rule(f"{BLOCK}attention/b_qkv", tuple(f"{p}.bias" for p in PARTS)),
    *(Rule(BLOCK + ours.format("w"), (f"{LAYER}{theirs}.weight",), inputs, turned=True)
      for ours, theirs, inputs in MATRICES),
    *(Rule(BLOCK + ours.format("b"), (f"{LAYER}{theirs}.bias",)) for ours, theirs, _ in MATRICES),
    *(Rule(f"{ours}/{name}", (f"{theirs}.{weight}",)) for ours, theirs in NORMS
      for name, weight in (("scale", "weight"), ("bias", "bias"))),
)
ACTIVATIONS = {"gelu": "gelu_erf", "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu"}
FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}       # Pillow's numbers


def spec(config: Config) -> dict[str, Any]:
    """Return the spec of models/vit.py."""
    require(config, {"hidden_act": tuple(ACTIVATIONS), "qkv_bias": True})
    return {"name": "vit", "image_size": config["image_size"],
            "channels": config.get("num_channels", 3), "patch_size": config["patch_size"],
            "width": config["hidden_size"], "depth": config["num_hidden_layers"],
            "num_heads": config["num_attention_heads"], "mlp_dim": config["intermediate_size"],
            "mlp": ACTIVATIONS[config.get("hidden_act", "gelu")], "pool": "class",
            "positions": "learned", "attention_bias": True,
            "norm_epsilon": config.get("layer_norm_eps", 1e-12)}


def prepare(tensors: Tensors, config: Config) -> Tensors:
    """Return patches as a matrix, and the class token with the position that is its own."""
    found = dict(tensors)
    names = (f"{PATCH}.weight", "embeddings.cls_token", "embeddings.position_embeddings")
    if any(name not in found for name in names):
        return found                          # the rules name what is missing
    patch, token, places = (found[name] for name in names)
    # theirs [D, C, row, column], ours [row column C, D]
    found[names[0]] = patch.transpose(2, 3, 1, 0).reshape(-1, patch.shape[0])
    found[names[1]] = token[0] + places[0, :1]
    found[names[2]] = places[0, 1:]
    return found


def preparation(processor: Config, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the operations (media/operations.py) that a preprocessor_config.json describes.

    Args:
        processor: the file's content; {} where there is none, which means ViTImageProcessor's own.
        spec: of our model.

    Raises:
        ArtefactError: it prepares images otherwise, or for another size.
    """
    side = spec["image_size"]
    size = processor.get("size", {"height": side, "width": side})
    size = {"height": size, "width": size} if isinstance(size, int) else size
    told = {"model_type": "preprocessor", **processor, "size": dict(size)}
    require(told, {"size": {"height": side, "width": side}, "do_resize": True, "do_rescale": True,
                   "do_normalize": True, "do_center_crop": (False, None),
                   "rescale_factor": 1 / 255})
    resample = processor.get("resample", 2)
    if resample not in FILTERS:
        raise ArtefactError(f"preprocessor_config.json has resample = {resample!r}; expected one "
                            f"of {FILTERS}.")
    return [{"name": "read_image", "channels": spec["channels"], "stored_size": side},
            {"name": "stretch", "size": side, "filter": FILTERS[resample]},
            {"name": "standardise", "mean": list(processor.get("image_mean", [0.5] * 3)),
             "std": list(processor.get("image_std", [0.5] * 3))}]


def head(tensors: Tensors) -> dict[str, np.ndarray] | None:
    """Return the classifier as {"w": [D, classes], "b": [classes]}; None where there is none."""
    if "classifier.weight" not in tensors:
        return None
    return {"w": np.ascontiguousarray(tensors["classifier.weight"].T.astype(np.float32)),
            "b": tensors["classifier.bias"].astype(np.float32)}


ARCHITECTURE = Architecture(spec, lambda spec: RULES, "vit.",
                            r"pooler\..*|classifier\..*|embeddings\.mask_token", prepare)
