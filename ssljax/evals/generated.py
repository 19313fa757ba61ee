"""Images drawn from a method that generates, some at a time: what is shown, and what is judged."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding

from ssljax.core import sharding
from ssljax.core.config import matches, type_name
from ssljax.core.errors import ConfigError, nearest
from ssljax.core.types import Objective, Params, Pretext, PyTree
from ssljax.train.state import blank_batch, with_views

# (params, extra, seed, count) -> uint8 images [n, H, W, C], as many in all as were asked for
Draw = Callable[[Params, PyTree, int, int], Iterator[np.ndarray]]


def check_options(objective: Objective, options: Mapping[str, Any]) -> None:
    """Raise ConfigError unless the method generates images and takes such options."""
    if objective.sample is None:
        raise ConfigError("This objective does not generate: it has no `sample`. Those that do are "
                          "flow_matching and image_gpt.")
    known = {name: p for name, p in inspect.signature(objective.sample).parameters.items()
             if p.kind is p.KEYWORD_ONLY}
    for name, value in options.items():
        if name not in known:
            raise ConfigError(f'Samples of this objective have no option "{name}"; '
                              f"{nearest(name, known)}")
        if not matches(value, known[name].annotation):
            raise ConfigError(f"{name} = {value!r} is a {type(value).__name__}; expected "
                              f"{type_name(known[name].annotation)}.")


def drawer(objective: Objective, pretext: Pretext, options: Mapping[str, Any], *,
           batch_size: int) -> Draw:
    """Return the function that draws images; one compiled program whatever their number.

    Image i of a seed is the same however many are drawn, for one batch size.

    Args:
        objective: generates.
        pretext: says how large images are, and turns what was generated into pixels.
        options: keyword arguments of the objective's `sample`.
        batch_size: images drawn at once, rounded up to divide over the mesh.

    Raises:
        ConfigError: the method or its pretext does not generate images, or an option is wrong.
    """
    check_options(objective, options)
    if pretext.render is None:
        raise ConfigError("The pretext of this run has no `render`: what was generated cannot be "
                          "turned into images. flow_pairs and pixel_tokens can.")

    def batch_of(rows: int) -> Any:
        key = jax.random.key(0)
        return jax.eval_shape(lambda: with_views(pretext.views, key,
                                                 blank_batch(pretext.spec, rows)))

    def draw(params: Params, extra: PyTree, seed: int, count: int) -> Iterator[np.ndarray]:
        mesh = sharding.mesh_of(params)
        rows = batch_size if mesh is None else -(-batch_size // mesh.size) * mesh.size

        @jax.jit
        def images(params: Params, extra: PyTree, key: jax.Array) -> jax.Array:
            drawn = objective.sample(params, extra, key, batch_of(rows), **options)
            pixels = jnp.round(255 * pretext.render(drawn)).astype(jnp.uint8)
            return sharding.shard(pixels, *(None,) * 4)

        mesh, (params, extra) = automatic(mesh, (params, extra))
        with sharding.use_mesh(mesh):
            for number, start in enumerate(range(0, count, rows)):
                key = jax.random.fold_in(jax.random.key(seed), number)
                yield np.asarray(images(params, extra, key))[:count - start]

    return draw


def automatic(mesh: jax.sharding.Mesh | None, tree: PyTree,
              ) -> tuple[jax.sharding.Mesh | None, PyTree]:
    """Return a mesh of the same devices whose layouts the compiler chooses, and a tree on it.

    A decoder writes into the rows of its cache, which the types of Explicit axes refuse. No array
    moves.
    """
    if mesh is None:
        return None, tree
    auto = jax.sharding.Mesh(mesh.devices, mesh.axis_names,
                             axis_types=(AxisType.Auto,) * len(mesh.axis_names))
    return auto, jax.tree.map(
        lambda x: jax.device_put(x, NamedSharding(auto, x.sharding.spec)), tree)
