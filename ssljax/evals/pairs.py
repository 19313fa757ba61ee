"""Images and texts as unit vectors of one space, for judgements of two towers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.core.tokenizer import Tokenizer, padded_tokens
from ssljax.core.types import Batch, Model, Objective, Params, PyTree
from ssljax.evals.features import calibrated, rows_on
from ssljax.families.towers import embed_images, embed_texts
from ssljax.train.layout import partition


class Towers(NamedTuple):
    """Both towers on the host.

    images:    (params, stats, images [n, H, W, C]) -> unit rows float32 [n, E]
    texts:     (params, stats, texts) -> unit rows float32 [n, E]
    untrained: (objective, mesh, images) -> (params, stats) with the random weights of a fixed key
    """

    images: Callable[[Params, PyTree, np.ndarray], np.ndarray]
    texts: Callable[[Params, PyTree, Sequence[str]], np.ndarray]
    untrained: Callable[[Objective, jax.sharding.Mesh | None, np.ndarray], tuple[Params, PyTree]]


def in_batches(embed: Callable[[Params, PyTree, jax.Array], jax.Array], batch_size: int,
               ) -> Callable[[Params, PyTree, np.ndarray], np.ndarray]:
    """Return `embed` over any number of rows, in one compiled program, on the host."""
    program = jax.jit(lambda params, stats, rows: sharding.shard(
        embed(params, stats, rows), None, None))

    def run(params: Params, stats: PyTree, rows: np.ndarray) -> np.ndarray:
        if "text" not in params:
            raise ConfigError("This judgement needs an objective with a text tower; use clip or "
                              "siglip, or leave it out.")
        mesh = sharding.mesh_of(params)
        size, found = rows_on(mesh, batch_size), []
        with sharding.use_mesh(mesh):
            for start in range(0, len(rows), size):
                # Filled up with the first rows again, whose results are dropped.
                chosen = rows[np.arange(start, start + size) % len(rows)]
                found.append(np.asarray(program(params, stats,
                                                sharding.place_whole(mesh, chosen))))
        return np.concatenate(found)[:len(rows)]

    return run


def embedder(model: Model, text_model: Model, tokenizer: Tokenizer, *, seq_len: int,
             batch_size: int) -> Towers:
    """Return both towers of CLIP or SigLIP.

    Args:
        model: the image network.
        text_model: the text network.
        tokenizer: of the texts.
        seq_len: L, tokens of a text.
        batch_size: rows encoded at once.
    """
    images = in_batches(lambda *args: embed_images(model, *args), batch_size)
    of_tokens = in_batches(lambda *args: embed_texts(text_model, *args), batch_size)

    def texts(params: Params, stats: PyTree, texts: Sequence[str]) -> np.ndarray:
        tokens = np.stack([padded_tokens(tokenizer, text, seq_len) for text in texts])
        return of_tokens(params, stats, tokens)

    def untrained(objective: Objective, mesh: jax.sharding.Mesh | None, seen: np.ndarray,
                  ) -> tuple[Params, PyTree]:
        rows = 1 if mesh is None else mesh.size
        blank: Batch = {"image": np.zeros((rows, *seen.shape[1:]), np.float32),
                        "tokens": np.full((rows, seq_len), tokenizer.end_of_text, np.int32)}
        init = lambda key: objective.init(key, blank)  # noqa: E731
        key = jax.random.key(0)
        layout = mesh and sharding.shardings(mesh, partition(), jax.eval_shape(init, key))
        with sharding.use_mesh(mesh):
            params, extra = jax.jit(init, out_shardings=layout)(key)
        stats = extra["stats"]
        moved = calibrated(model, params["encoder"], stats["encoder"], seen, batch_size=batch_size)
        return params, {**stats, "encoder": moved}

    return Towers(images, texts, untrained)
