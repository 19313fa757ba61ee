"""Names, sizes and casts of pytrees."""

from typing import Any

import jax
import jax.numpy as jnp


def entry_name(entry: Any) -> str:
    """Return the dict key, field name or index that one entry of a pytree path stands for."""
    return str(getattr(entry, "key", getattr(entry, "name", getattr(entry, "idx", entry))))


def leaf_name(path: tuple[Any, ...]) -> str:
    """Return the last name on a pytree path: what a weight is called."""
    return entry_name(path[-1]) if path else ""


def named_leaves(tree: Any) -> dict[str, Any]:
    """Return {"blocks/w_qkv": leaf}: every leaf by its slash-separated path, in tree order."""
    return {"/".join(map(entry_name, path)): leaf
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


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
