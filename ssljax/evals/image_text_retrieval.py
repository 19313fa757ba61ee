"""Find the caption of an image and the image of a caption, among those of held-out pairs.

Recall at 1, 5 and 10, as in the evaluation of CLIP (Radford et al. 2021,
https://arxiv.org/abs/2103.00020, table 13). Pairs with the same caption count as right for each
other: nothing tells them apart. Reads records with image and text, the first caption where there
are several; returns the recalls with intervals over queries, and those of the untrained towers.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np

from ssljax.core import sharding
from ssljax.core.errors import DataError
from ssljax.core.source import Record, Source
from ssljax.core.tokenizer import Tokenizer
from ssljax.core.types import Evaluator, Example, Judgement, Model, Objective, Params, PyTree
from ssljax.evals import bootstrap
from ssljax.evals.pairs import embedder
from ssljax.evals.readable import each_readable

RECALLS = (1, 5, 10)


def found_at(similarity: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the rank, from 0, of the best right answer to each query, int64 [q].

    Args:
        similarity: float [q, n] of queries with candidates.
        right: bool [q, n], at least one in each row.
    """
    best = np.where(right, similarity, -np.inf).max(axis=1, keepdims=True)
    return np.sum((similarity > best) & ~right, axis=1)


def recalls(images: np.ndarray, texts: np.ndarray, captions: np.ndarray) -> Judgement:
    """Return the recalls of both directions; rows i of [n, E] are a pair, captions [n] its id."""
    similarity, right = images @ texts.T, captions[:, None] == captions
    ranks = {"text": found_at(similarity, right), "image": found_at(similarity.T, right)}
    return {f"{name}_recall_at_{k}": bootstrap.ratio(rank < k, np.ones(len(rank)))
            for name, rank in ranks.items() for k in RECALLS}


def make(objective: Objective, *, model: Model, text_model: Model,
         plain: Callable[[Record], Example], tokenizer: Tokenizer, seq_len: int,
         source: Source, pairs: int = 1000,
         batch_size: int = 256, every: int = 0) -> Evaluator:
    """Return the evaluator.

    Args:
        objective: CLIP or SigLIP.
        model: the image tower.
        text_model: the text tower, as the objective's.
        plain: the pretext's deterministic transform.
        tokenizer: of the captions in training.
        seq_len: L, as in training.
        source: held-out pairs.
        pairs: how many of them, from the first; fewer where there are.
        batch_size: images or texts encoded at once.
        every: steps between judgements during training; 0 means only when asked.
    """
    towers = embedder(model, text_model, tokenizer, seq_len=seq_len, batch_size=batch_size)

    @functools.cache
    def data() -> tuple[np.ndarray, list[str], np.ndarray]:
        records = source.read(np.arange(min(pairs, len(source))))
        images, texts = zip(*each_readable(
            source, records, lambda r: (plain(r)["image"], first_text(r)), least=2), strict=True)
        captions = np.unique(texts, return_inverse=True)[1]
        return np.stack(images), list(texts), captions

    def first_text(record: Record) -> str:
        if not record.get("text"):
            raise DataError(f"The source {dict(source.fingerprint())} has no text in its records; "
                            "this judgement needs records with image and text.")
        return record["text"] if isinstance(record["text"], str) else record["text"][0]

    def score(params: Params, stats: PyTree) -> Judgement:
        images, texts, captions = data()
        return recalls(towers.images(params, stats, images), towers.texts(params, stats, texts),
                       captions)

    @functools.cache
    def untrained(mesh: jax.sharding.Mesh | None) -> Judgement:
        found = score(*towers.untrained(objective, mesh, data()[0]))
        return {f"{name}_random_init": value for name, value in found.items()}

    def run(params: Params, extra: PyTree) -> Judgement:
        return {**score(params, extra["stats"]), **untrained(sharding.mesh_of(params))}

    return Evaluator(every, run)
