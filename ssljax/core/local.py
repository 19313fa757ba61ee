"""Code on each device's own blocks: shard_map over every axis that is left, inside others too."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ssljax.core.sharding import Axes, shard, spec


def reducible(x: jax.Array) -> jax.Array:
    """Return x in a dtype that a sum over devices inside a shard_map over some axes can have.

    XLA's CPU compiler aborts the process on 16-bit ones ("Invalid binary instruction opcode copy"
    in AllReducePromotion, jaxlib 0.10.2); accelerators reduce x as it is.
    """
    return x.astype(jnp.float32) if jax.default_backend() == "cpu" else x


def local(function: Callable[..., Any], in_axes: tuple[tuple[Axes, ...], ...],
          out_axes: tuple[Axes, ...], *, check: bool = True) -> Callable[..., Any]:
    """Run `function` on each device's blocks of its arguments, free to use any collective.

    Takes every axis that an enclosing shard_map has left: taking some of them fails in XLA where
    they all have one device. Without a mesh, blocks are whole and this is `function`.

    Args:
        function: of arrays.
        in_axes: mesh axes of each argument's dimensions; they are laid out so first.
        out_axes: mesh axes of the result's dimensions.
        check: whether JAX checks what is replicated; third parties' kernels do not say.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.are_all_axes_manual:
        return function
    taken = mesh.manual_axes
    in_specs, out_specs = tuple(spec(*axes) for axes in in_axes), spec(*out_axes)
    options = {"axis_names": set(mesh.axis_names) - set(taken), "check_vma": check and not taken}
    mapped = jax.shard_map(function, in_specs=in_specs, out_specs=out_specs, **options)
    if taken:
        forget = lambda specs: jax.shard_map(  # noqa: E731
            lambda tree: jax.tree.map(lambda x: x * 1, tree), in_specs=(specs,), out_specs=specs,
            **options)
        mapped = inside(mapped, forget(in_specs), forget(out_specs), taken)
    return lambda *args: mapped(*(shard(x, *axes) for x, axes in zip(args, in_axes, strict=True)))


def inside(mapped: Callable[..., jax.Array], forget: Callable[[Any], Any],
           forget_out: Callable[[jax.Array], jax.Array], taken: tuple[str, ...],
           ) -> Callable[..., jax.Array]:
    """Return `mapped`, an unchecked shard_map that runs inside one over the axes `taken`.

    With the check on, jax 0.10.2 lays what is saved for the gradient out along the outer axes once
    more, which its own lowering refuses. With it off, types forget that values differ along them,
    and what leaves the outer shard_map would be taken from one device. So all arguments forget it
    first (products with one, which XLA drops), and all results are told again.
    """
    def told(tree: Any) -> Any:
        return jax.tree.map(lambda x: x if x.dtype == jax.dtypes.float0 else
                            jax.lax.pcast(x, taken, to="varying"), tree)

    def forward(*args: jax.Array) -> Any:
        return told(jax.vjp(mapped, *forget(args)))

    def backward(vjp: Any, g: jax.Array) -> tuple[Any, ...]:
        return told(vjp(forget_out(g)))

    call = jax.custom_vjp(lambda *args: told(mapped(*forget(args))))
    call.defvjp(forward, backward)
    return call
