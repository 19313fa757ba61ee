"""How much an encoder or language model changes when its weights are rounded to eight bits.

Reads a network with its weights before and after; returns plain figures for the manifest and the
card. Inputs are made up, the same for everyone: images of smooth noise, rows of random tokens.
Figures on real held-out data, which mean more, come from the run's own evaluators (runs.export).
"""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from ssljax.core.types import Model, PyTree
from ssljax.export.quantise import dense
from ssljax.export.stablehlo import embed, score

IMAGES, COARSE = 64, 4                 # how many, and sides of the noise they are enlarged from
ROWS, LENGTH = 8, 64                   # of tokens

Figures = dict[str, float]


def encoder_difference(model: Model, weights: PyTree, rounded: PyTree, *,
                       image: tuple[int, int, int]) -> Figures:
    """Return how far the vectors of images move.

    Args:
        model: reads image, returns pooled.
        weights: float32.
        rounded: the same, quantised.
        image: height, width and channels.

    Returns:
        "cosine_mean" and "cosine_least" between an image's two vectors, "relative_error" of all
        of them in the Frobenius norm, and "same_neighbour": the fraction of images whose nearest
        other image is the same one.
    """
    draw = np.random.default_rng(0)
    coarse = draw.standard_normal((IMAGES, COARSE, COARSE, image[2])).astype(np.float32)
    images = np.asarray(jax.image.resize(coarse, (IMAGES, *image), "cubic"))
    before, after = both(embed(model), weights, rounded, {"image": images}, "pooled")
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosines = np.sum(before * after, axis=1) / np.maximum(lengths, 1e-30)
    same = neighbours(before) == neighbours(after)
    return {"cosine_mean": float(cosines.mean()), "cosine_least": float(cosines.min()),
            "relative_error": relative(before, after), "same_neighbour": float(same.mean())}


def neighbours(vectors: np.ndarray) -> np.ndarray:
    """Return the index of each row's most similar other row, by cosine."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    return similar.argmax(axis=1)


def decoder_difference(model: Model, weights: PyTree, rounded: PyTree, *, vocab_size: int,
                       context: int) -> Figures:
    """Return how far the next-token distributions move.

    Args:
        model: reads tokens, returns logits.
        weights: float32.
        rounded: the same, quantised.
        vocab_size: tokens are drawn below it.
        context: longest row the model reads.

    Returns:
        "divergence_bits", the mean Kullback-Leibler divergence from the full model in bits a
        token, "same_top_token", the fraction of positions with the same most probable token, and
        "relative_error" of the logits.
    """
    shape = (ROWS, min(LENGTH, context))
    tokens = np.random.default_rng(0).integers(vocab_size, size=shape, dtype=np.int32)
    before, after = both(score(model), weights, rounded, {"tokens": tokens}, "logits")
    before, after = before[..., :vocab_size], after[..., :vocab_size]
    p, q = log_softmax(before), log_softmax(after)
    bits = np.sum(np.exp(p) * (p - q), axis=-1) / np.log(2)
    same = before.argmax(-1) == after.argmax(-1)
    return {"divergence_bits": float(bits.mean()), "same_top_token": float(same.mean()),
            "relative_error": relative(before, after)}


def both(function: Callable, weights: PyTree, rounded: PyTree, inputs: Mapping[str, np.ndarray],
         output: str) -> tuple[np.ndarray, np.ndarray]:
    """Return one output with either weights, float64 on the host."""
    call = jax.jit(lambda weights: function(dense(weights), inputs)[output])
    return np.asarray(call(weights), np.float64), np.asarray(call(rounded), np.float64)


def relative(before: np.ndarray, after: np.ndarray) -> float:
    """Return the norm of the difference over the norm of what it was."""
    return float(np.linalg.norm(after - before) / max(np.linalg.norm(before), 1e-30))


def log_softmax(x: np.ndarray) -> np.ndarray:
    """Return the logarithms of softmax over the last axis."""
    return x - np.logaddexp.reduce(x, axis=-1, keepdims=True)
