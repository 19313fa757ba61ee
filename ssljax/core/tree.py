"""Names, sizes and casts of pytrees."""

from typing import Any

import jax
import jax.numpy as jnp


def named_leaves(tree: Any) -> dict[str, Any]:
    """Return {"blocks/w_qkv": leaf}: every leaf by its slash-separated path, in tree order."""
    def name(path: tuple[Any, ...]) -> str:
        return "/".join(str(getattr(p, "key", getattr(p, "name", getattr(p, "idx", p))))
                        for p in path)

    return {name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def unflatten(leaves: dict[str, Any]) -> dict[str, Any]:
    """Return the nested dict of slash-separated names; the inverse of `named_leaves` on dicts."""
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return tree


def count(tree: Any) -> int:
    """Return the number of scalars in a tree of arrays or shapes."""
    return sum(x.size for x in jax.tree.leaves(tree))


def cast_floating(tree: Any, dtype: Any) -> Any:
    """Cast the floating leaves to `dtype`; integers, booleans and keys stay as they are."""
    return jax.tree.map(
        lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)
