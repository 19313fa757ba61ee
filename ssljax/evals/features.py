"""Features of images in memory: the method's, and the controls that cost no training.

A judgement of features scores three kinds in the same way: the method's, raw pixels, and those of
the same network with random weights. A number without the other two says little: on small data
pixels are strong, and published methods are known to lose to them.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.core import sharding
from ssljax.core.errors import DataError
from ssljax.core.source import Record, Source, windows
from ssljax.core.types import Example, Model, Params, PyTree
from ssljax.evals.readable import each_readable
from ssljax.train.layout import partition

# Batches after which running statistics have forgotten their start: 0.9 ** 64 is a thousandth.
CALIBRATION = 64
Extract = Callable[[Params, PyTree, np.ndarray], np.ndarray]


class Labelled(NamedTuple):
    """A source in memory: images float32 [n, H, W, C], labels int64 [n], ids uint32 [n, 2]."""

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray


def read(source: Source, plain: Callable[[Record], Example]) -> Labelled:
    """Return every readable record of a source after the deterministic transform.

    Raises:
        DataError: there is no record, or no label.
    """
    try:
        rows = each_readable(source, itertools.chain.from_iterable(windows(source)),
                             lambda record: labelled(record, plain))
    except KeyError as err:
        raise DataError(f"The source {dict(source.fingerprint())} has no {err.args[0]} in its "
                        "records; this judgement needs image and label.") from err
    images, labels, ids = zip(*rows, strict=True)
    return Labelled(np.stack(images), np.array(labels, np.int64), np.stack(ids))


def labelled(record: Record, plain: Callable[[Record], Example],
             ) -> tuple[np.ndarray, int, np.ndarray]:
    """Return image, label and id of a record.

    Raises:
        UnreadableRecordError: it cannot be decoded.
        KeyError: it has no image or label.
    """
    return plain(record)["image"], record["label"], record["id"]


def rows_on(mesh: jax.sharding.Mesh | None, batch_size: int) -> int:
    """Return the batch size rounded up to rows that divide over the mesh."""
    return batch_size if mesh is None else -(-batch_size // mesh.size) * mesh.size


def extractor(model: Model, batch_size: int) -> Extract:
    """Return (params, stats, images [n, H, W, C]) -> pooled features float32 [n, D] on the host.

    One compiled program: the last batch is filled up with zeros. Every process holds all images,
    and gets all features.
    """
    @jax.jit
    def pooled(params: Params, stats: PyTree, image: jax.Array) -> jax.Array:
        outputs = model.apply(params, {"image": image}, stats=stats)
        return sharding.shard(outputs["pooled"].astype(jnp.float32), None, None)

    def extract(params: Params, stats: PyTree, images: np.ndarray) -> np.ndarray:
        mesh = sharding.mesh_of(params)
        rows, batches = rows_on(mesh, batch_size), []
        with sharding.use_mesh(mesh):
            for start in range(0, len(images), rows):
                batch = images[start:start + rows]
                fill = [(0, rows - len(batch))] + [(0, 0)] * (images.ndim - 1)
                placed = sharding.place_whole(mesh, np.pad(batch, fill))
                batches.append(np.asarray(pooled(params, stats, placed))[:len(batch)])
        return np.concatenate(batches)

    return extract


def untrained(model: Model, mesh: jax.sharding.Mesh | None, shape: tuple[int, ...],
              ) -> tuple[Params, PyTree]:
    """Return the random weights of a fixed key, laid out as in training; images are `shape`."""
    rows = 1 if mesh is None else mesh.size              # the batch axes must divide them

    def init(key: jax.Array) -> tuple[Params, PyTree]:
        return model.init(key, {"image": jnp.zeros((rows, *shape))})

    key = jax.random.key(0)
    layout = mesh and sharding.shardings(mesh, partition(), jax.eval_shape(init, key))
    with sharding.use_mesh(mesh):
        return jax.jit(init, out_shardings=layout)(key)


def calibrated(model: Model, params: Params, stats: PyTree, images: np.ndarray, *,
               batch_size: int) -> PyTree:
    """Return the batch statistics that untrained weights have on `images` [n, H, W, C].

    A new network's are zero mean and unit variance, which nothing it computes has: judged with
    them it is a worse network than training started from. Forward passes in training mode over
    CALIBRATION batches, again from the first image where they run out, move the running statistics
    as training would have. Networks without statistics are left alone.
    """
    if not jax.tree.leaves(stats):
        return stats
    mesh = sharding.mesh_of(params)
    rows = rows_on(mesh, batch_size)

    @jax.jit
    def moved(params: Params, stats: PyTree, image: jax.Array, key: jax.Array) -> PyTree:
        return model.apply(params, {"image": image}, stats=stats, key=key, train=True)["stats"]

    with sharding.use_mesh(mesh):
        for step in range(CALIBRATION):
            chosen = np.arange(step * rows, (step + 1) * rows) % len(images)
            stats = moved(params, stats, sharding.place_whole(mesh, images[chosen]),
                          jax.random.key(step))
    return stats


def random_features(model: Model, mesh: jax.sharding.Mesh | None, seen: np.ndarray, *,
                    batch_size: int, extract: Extract) -> Callable[[np.ndarray], np.ndarray]:
    """Return images -> features of the untrained network, its statistics calibrated on `seen`."""
    params, stats = untrained(model, mesh, seen.shape[1:])
    stats = calibrated(model, params, stats, seen, batch_size=batch_size)
    return lambda images: extract(params, stats, images)
