"""What the backward pass of a block computes again, and what it keeps or sends to the host.

Chen et al. 2016, https://arxiv.org/abs/1604.06174. Policies, from most memory to least:

    none     keep everything
    dots     keep products with weights; norms, gates and attention are computed again
    names    keep what layers name (NAMES): queries, keys and values, and what attention gives
    offload  the same, moved to pinned memory of the host and fetched back
    full     keep a block's input

Judge them with scanned layers: unrolled, XLA's CPU scheduler keeps what should be computed again.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
from jax.ad_checkpoint import checkpoint_name

Remat = Literal["none", "dots", "names", "offload", "full"]
NAMES = ("qkv", "attention")


def named(x: jax.Array, name: str) -> jax.Array:
    """Give a value a name that the policies "names" and "offload" know."""
    return checkpoint_name(x, name)


def rematerialised(block: Callable[..., Any], remat: Remat, unrolled: bool) -> Callable[..., Any]:
    """Return `block` with the gradient computed as the policy says.

    Args:
        block: a pure function of arrays.
        remat: the policy.
        unrolled: whether blocks follow each other in one program; then XLA must be kept from
            merging what is computed again with what was computed before. A loop does that itself.
    """
    if remat == "none":
        return block
    policies = jax.checkpoint_policies
    policy = {
        "dots": lambda: policies.dots_with_no_batch_dims_saveable,
        "names": lambda: policies.save_only_these_names(*NAMES),
        "offload": lambda: policies.save_and_offload_only_these_names(
            names_which_can_be_saved=[], names_which_can_be_offloaded=list(NAMES),
            offload_src="device", offload_dst="pinned_host"),
        "full": lambda: policies.nothing_saveable}[remat]()
    return jax.checkpoint(block, policy=policy, prevent_cse=unrolled)
