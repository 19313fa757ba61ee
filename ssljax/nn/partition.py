"""Which mesh axes each shared weight is laid out along: one line per weight name.

The tuple names the axes of a weight's last dimensions; a dimension of layers in front is split over
stage (core.sharding.with_layers). Plug-ins that declare other weights have a PARTITION of their
own, merged by train/layout.py.
"""

from ssljax.core.sharding import Axes

PARTITION: dict[str, tuple[Axes, ...]] = {
    "w_qkv": ("fsdp", None, "tensor", None),      # [D, 3, H, K]
    "w_out": ("tensor", None, "fsdp"),            # [H, K, D]
    "w_up": ("fsdp", "tensor"),                   # [D, F]
    "w_gate": ("fsdp", "tensor"),                 # [D, F]
    "w_down": ("tensor", "fsdp"),                 # [F, D]
    "w_router": (None, None),                     # [D, E]; small, and read whole
    "w_up_e": ("expert", "fsdp", "tensor"),       # [E, D, F]
    "w_gate_e": ("expert", "fsdp", "tensor"),     # [E, D, F]
    "w_down_e": ("expert", "tensor", "fsdp"),     # [E, F, D]
    "w_conv": (None, None, None, "fsdp"),         # [K, K, C, F]
    "embedding": ("tensor", None),                # [V, D]; two sharded axes would rematerialise
    "w_patch": (None, "fsdp"),                    # [P, D]
    "w_vocab": ("tensor", None),                  # [V, D]; a head of its own
    "position_table": (None, None),               # [T or N, D]; a slice of it is added to rows
    "b_qkv": (None, "tensor", None),              # [3, H, K]
    "mask_token": (None, None),                   # [1, D]
    "class_token": (None, None),                  # [1, D]
    "register_tokens": (None, None),              # [R, D]
    "scale": (None,), "bias": (None,), "b_up": ("tensor",), "b_down": (None,), "b_patch": (None,),
    "b_conv": (None,), "b_out": (None,), "gamma_attention": (None,), "gamma_mlp": (None,),
}
