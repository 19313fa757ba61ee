"""Which mesh axes each shared weight is laid out along: one line per weight name.

The tuple names the axes of a weight's last dimensions; stacked dimensions in front (layers) stay
whole. Plug-ins that declare other weights have a PARTITION of their own, merged by train/layout.py.
"""

from ssljax.core.sharding import Axes

PARTITION: dict[str, tuple[Axes, ...]] = {
    "w_qkv": ("fsdp", None, "tensor", None),      # [D, 3, H, K]
    "w_out": ("tensor", None, "fsdp"),            # [H, K, D]
    "w_up": ("fsdp", "tensor"),                   # [D, F]
    "w_gate": ("fsdp", "tensor"),                 # [D, F]
    "w_down": ("tensor", "fsdp"),                 # [F, D]
    "embedding": ("tensor", None),                # [V, D]; two sharded axes would rematerialise
    "w_patch": (None, "fsdp"),                    # [P, D]
    "mask_token": (None, None),                   # [1, D]
    "class_token": (None, None),                  # [1, D]
    "scale": (None,), "bias": (None,), "b_up": ("tensor",), "b_down": (None,), "b_patch": (None,),
}
