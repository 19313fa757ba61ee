"""Fixed images and fixed random views of them, for judgements that need no label."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.core import sharding
from ssljax.core.rng import host_generator
from ssljax.core.source import Record, Source
from ssljax.core.types import Batch, Example, Key, Model, Params, PyTree
from ssljax.evals.features import rows_on
from ssljax.evals.readable import each_readable
from ssljax.train.state import with_views

SEED = 0                # of the choice of images, of what is drawn on the host, and of the views
Viewed = Callable[[Params, PyTree, int], np.ndarray]


Examples = Mapping[str, np.ndarray]


class Probes(NamedTuple):
    """Images in memory.

    plain: float32 [n, H, W, C] after the deterministic transform
    drawn: number of a draw -> name -> [n, ...], what the pretext's device part reads: one draw
           after the other has other random crops where the host makes them
    """

    plain: np.ndarray
    drawn: Callable[[int], Examples]


def choose(source: Source, images: int) -> list[Record]:
    """Return `images` records of a source, or all where it has fewer; always the same choice."""
    return source.read(np.sort(np.random.default_rng(SEED).permutation(len(source))[:images]))


def read_plain(source: Source, images: int, plain: Callable[[Record], Example]) -> np.ndarray:
    """Return the chosen images after the deterministic transform, float32 [n, H, W, C].

    Raises:
        DataError: fewer than two can be read.
    """
    return np.stack(each_readable(source, choose(source, images), lambda r: plain(r)["image"],
                                  least=2))


def read_probes(source: Source, images: int, *, plain: Callable[[Record], Example],
                example: Callable[[Record, np.random.Generator], Example]) -> Probes:
    """Return the chosen images with what the device draws views from.

    Raises:
        DataError: fewer than two can be read.
    """
    def draw_of(record: Record, draw: int) -> Example:
        return example(record, host_generator(SEED, "probes", draw, record["id"]))

    # What has no caption, say, is found by its first draw.
    records, shown, first = zip(*each_readable(
        source, choose(source, images), lambda r: (r, plain(r)["image"], draw_of(r, 0)), least=2),
        strict=True)

    def stacked(examples: Sequence[Example]) -> Examples:
        return {name: np.stack([e[name] for e in examples]) for name in examples[0]}

    start = stacked(first)

    @functools.cache
    def drawn(draw: int) -> Examples:
        made = stacked([draw_of(record, draw) for record in records]) if draw else start
        # Where the host draws nothing, all draws are one in memory.
        return start if all(np.array_equal(x, start[n]) for n, x in made.items()) else made

    return Probes(np.stack(shown), drawn)


def whole_views(views: Callable[[Key, Example], Example], key: Key, batch: Batch,
                shape: tuple[int, ...]) -> list[jax.Array]:
    """Return the views of a batch that are images as the network reads them, [B, *shape] each.

    Smaller crops, tiles and pairs of patches are not: a network may read them otherwise. Nor is
    the noise of flow matching, which no image is in.
    """
    made = with_views(views, key, batch)
    return [x for name, x in sorted(made.items())
            if name != "noise" and x.shape[1:] == shape and jnp.issubdtype(x.dtype, jnp.floating)]


def view_extractor(model: Model, views: Callable[[Key, Example], Example], probes: Probes, *,
                   batch_size: int) -> Viewed:
    """Return (params, stats, q) -> pooled features float32 [n, q, D] of q views of every image.

    The pretext is asked again until there are q; [n, 0, 0] where it makes none that the network
    reads whole. The views are the same whenever it is called.
    """
    count, shape = probes.plain.shape[0], probes.plain.shape[1:]

    @jax.jit
    def pooled(params: Params, stats: PyTree, batch: Batch, draw: jax.Array) -> list[jax.Array]:
        epoch = jnp.zeros_like(batch["id"][:, 0], jnp.int32) + draw
        images = whole_views(views, jax.random.key(SEED), {**batch, "epoch": epoch}, shape)
        outputs = [model.apply(params, {"image": image}, stats=stats)["pooled"]
                   for image in images]
        return [sharding.shard(x.astype(jnp.float32), None, None) for x in outputs]

    def of_batch(params: Params, stats: PyTree, index: np.ndarray, wanted: int) -> np.ndarray:
        made: list[np.ndarray] = []
        for draw in range(wanted):
            batch = {name: x[index] for name, x in probes.drawn(draw).items()}
            placed = sharding.place_whole(sharding.mesh_of(params), batch)
            made += map(np.asarray, pooled(params, stats, placed, jnp.int32(draw)))
            if not made or len(made) >= wanted:
                break
        return (np.stack(made[:wanted], axis=1) if made else
                np.zeros((len(index), 0, 0), np.float32))

    def extract(params: Params, stats: PyTree, wanted: int) -> np.ndarray:
        mesh = sharding.mesh_of(params)
        rows, batches = rows_on(mesh, batch_size), []
        with sharding.use_mesh(mesh):
            for start in range(0, count, rows):
                # Filled up with the first images again; their features are dropped.
                index = np.arange(start, start + rows) % count
                batches.append(of_batch(params, stats, index, wanted))
        return np.concatenate(batches)[:count]

    return extract
