"""Which matrix of ours a name in an adapter's file means: names of transformers' models, and ours.

PEFT calls the matrices of the module M "base_model.model.M.lora_A.weight" and "...lora_B.weight"
(https://huggingface.co/docs/peft/developer_guides/checkpoint).
"""

import re
from typing import NamedTuple

# Their module in a layer -> (our matrix in a block, which part of it; None for all of them).
GPT2 = {"attn.c_attn": ("attention/w_qkv", None), "attn.c_proj": ("attention/w_out", None),
        "mlp.c_fc": ("mlp/w_up", None), "mlp.c_proj": ("mlp/w_down", None)}
LLAMA = {"self_attn.q_proj": ("attention/w_qkv", 0), "self_attn.k_proj": ("attention/w_qkv", 1),
         "self_attn.v_proj": ("attention/w_qkv", 2), "self_attn.o_proj": ("attention/w_out", None),
         "mlp.gate_proj": ("mlp/w_gate", None), "mlp.up_proj": ("mlp/w_up", None),
         "mlp.down_proj": ("mlp/w_down", None)}
FAMILIES = {"gpt2": (re.compile(r"(?:transformer\.)?h\.(\d{1,4})\.(.+)"), GPT2),
            "llama": (re.compile(r"(?:model\.)?layers\.(\d{1,4})\.(.+)"), LLAMA)}
TENSOR = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight")
OURS = re.compile(r"decoder/blocks/(\d{1,4})/(?:attention|mlp)/w_[a-z]+")


class Place(NamedTuple):
    """What a module of theirs is here.

    name:   our slash-separated weight
    part:   of queries, keys and values which one; None for the whole weight
    layer:  its number
    family: whose naming it is: "gpt2", "llama" or "ssljax"
    """

    name: str
    part: int | None
    layer: int
    family: str


def place_of(module: str) -> Place | None:
    """Return what a module's name means; None where it is no matrix that adapters change."""
    for family, (pattern, table) in FAMILIES.items():
        found = pattern.fullmatch(module)
        if found and found[2] in table:
            name, part = table[found[2]]
            return Place(f"decoder/blocks/{int(found[1])}/{name}", part, int(found[1]), family)
    ours = OURS.fullmatch(module.replace(".", "/"))
    return Place(ours[0], None, int(ours[1]), "ssljax") if ours else None


def module_of(tensor: str) -> tuple[str, str] | None:
    """Return the module of a tensor's name, and "A" or "B"; None of any other tensor."""
    found = TENSOR.fullmatch(tensor)
    return (found[1], found[2]) if found else None
