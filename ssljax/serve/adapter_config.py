"""adapter_config.json of PEFT: what it must say for an adapter to mean what ours computes.

Fields as in https://huggingface.co/docs/peft/package_reference/lora. Whatever a field asks for that
is not offered is refused by its name, fields that come after this was written among them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ssljax.core.errors import ArtefactError
from ssljax.serve.manifest import read_small

CONFIG = "adapter_config.json"
READ = {"peft_type", "r", "lora_alpha", "use_rslora", "target_modules", "base_model_name_or_path",
        "revision", "bias", "init_lora_weights"}
# Of training, or without effect while another field is at its default.
HARMLESS = {"task_type", "inference_mode", "lora_dropout", "fan_in_fan_out", "auto_mapping",
            "peft_version", "megatron_core", "qalora_group_size", "ensure_weight_tying"}
# Starts that leave the base as it is; others, such as PiSSA's, change its weights too.
STARTS = (True, False, None, "gaussian", "eva", "orthogonal")


class AdapterConfig(NamedTuple):
    """What an adapter says of itself.

    rank:     of its matrices
    scale:    of their product
    targets:  ends of the names of the modules that it changes; None where a pattern says it
    base:     model that it was trained on; "" where that is not told
    revision: of it; "" where that is not told
    """

    rank: int
    scale: float
    targets: tuple[str, ...] | None
    base: str
    revision: str


def read_config(folder: Path) -> AdapterConfig:
    """Return what adapter_config.json says.

    Raises:
        ArtefactError: it is missing or damaged, or asks for something that is not offered.
    """
    file = folder / CONFIG
    data = read_small(file, f"{folder} is no adapter",
                      "Expected a folder that PEFT's save_pretrained wrote.")
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise ArtefactError(f"{file} is not JSON: {err}") from err
    if not isinstance(told, dict):
        raise ArtefactError(f"{file} holds no JSON object.")
    check_config(file, told)
    rank, alpha = told.get("r"), told.get("lora_alpha")
    if type(rank) is not int or rank < 1:
        raise ArtefactError(f"{file} has r = {rank!r:.80}; expected a rank of at least 1.")
    if type(alpha) not in (int, float) or not abs(alpha) < float("inf"):
        raise ArtefactError(f"{file} has lora_alpha = {alpha!r:.80}; expected a number.")
    # Kalajdzievski 2023, https://arxiv.org/abs/2312.03732, for the second.
    scale = alpha / rank ** 0.5 if told.get("use_rslora") else alpha / rank
    return AdapterConfig(rank, scale, targets_of(file, told.get("target_modules")),
                         text(file, told, "base_model_name_or_path"), text(file, told, "revision"))


def check_config(file: Path, told: Mapping[str, Any]) -> None:
    """Raise ArtefactError, naming the field, unless the adapter is a plain low-rank one."""
    expected = {"peft_type": ("LORA",), "bias": ("none", None), "init_lora_weights": STARTS}
    for field, right in expected.items():
        if told.get(field) not in right:
            raise refused(file, field, told.get(field))
    for field, value in told.items():
        if field not in READ | HARMLESS and value:
            raise refused(file, field, value)


def refused(file: Path, field: str, value: Any) -> ArtefactError:
    """Return the error of a field that asks for what is not offered."""
    return ArtefactError(f"{file} has {field} = {value!r:.80}; what is served is plain LoRA: "
                         "matrices A and B of blocks' own products, with lora_alpha, use_rslora. "
                         "Merge this adapter into its base and import the result instead.")


def targets_of(file: Path, told: Any) -> tuple[str, ...] | None:
    """Return the target modules; None of a pattern: what the tensors are called says it then."""
    if told is None or isinstance(told, str):
        return None
    if not isinstance(told, list) or not all(isinstance(name, str) for name in told):
        raise ArtefactError(f"{file} has target_modules = {told!r:.80}; expected names.")
    return tuple(sorted(told))


def text(file: Path, told: Mapping[str, Any], field: str) -> str:
    """Return a field that is a string, or null for ""."""
    value = told.get(field)
    if value is not None and not isinstance(value, str):
        raise ArtefactError(f"{file} has {field} = {value!r:.80}; expected a string.")
    return value or ""
