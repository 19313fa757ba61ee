"""A network so small that a test can compute it again in NumPy: one layer on patches, then a mean.

It reads images of any size and hidden patches, as a vision transformer does.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.core.types import Model
from ssljax.nn.patches import patchify

PATCH, WIDTH = 2, 6


def make() -> Model:
    """Return the network."""
    def init(key, inputs):
        k_patch, k_class = jax.random.split(key)
        values = PATCH**2 * inputs["image"].shape[-1]
        return {"w_patch": jax.random.normal(k_patch, (values, WIDTH)),
                "w_class": jax.random.normal(k_class, (WIDTH, WIDTH)),
                "mask_token": jnp.full((1, WIDTH), 0.3)}, {}

    def apply(params, inputs, *, stats=None, cache=None, key=None, train=False):
        patches = patchify(inputs["image"], PATCH) @ params["w_patch"]
        if "hidden" in inputs:
            patches = jnp.where(inputs["hidden"][..., None], params["mask_token"], patches)
        patches = jnp.tanh(patches)
        token = jnp.mean(patches, axis=1) @ params["w_class"]
        return {"patches": patches, "class": token, "pooled": token, "stats": {}}

    return Model(init, apply)


def in_numpy(params: dict, image: np.ndarray, hidden: np.ndarray | None = None):
    """Return class tokens [B, D] and patches [B, N, D] in float64, by loops."""
    params = {n: np.asarray(w, np.float64) for n, w in params.items()}
    tokens, rows = [], []
    for b, picture in enumerate(np.asarray(image, np.float64)):
        cells = [picture[i:i + PATCH, j:j + PATCH].reshape(-1) @ params["w_patch"]
                 for i in range(0, picture.shape[0], PATCH)
                 for j in range(0, picture.shape[1], PATCH)]
        if hidden is not None:
            cells = [params["mask_token"][0] if h else c
                     for c, h in zip(cells, hidden[b], strict=True)]
        rows.append(np.tanh(cells))
        tokens.append(rows[-1].mean(0) @ params["w_class"])
    return np.array(tokens), np.array(rows)


def head_in_numpy(params: dict, x: np.ndarray) -> np.ndarray:
    """Return DINO's head on rows x [..., D], in float64: GELU, GELU, linear, cosines."""
    weights = jax.tree.map(lambda w: np.asarray(w, np.float64), params)
    for i in range(3):
        layer = weights["mlp"][f"layer{i}"]
        x = x @ layer["w_head_down" if i % 2 else "w_head_up"] + layer["bias"]
        if i < 2:
            # The tanh form, jax.nn.gelu's default.
            x = x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    w = weights["w_prototypes"]
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)) @ (w / np.linalg.norm(w, axis=0))


def softmax(x: np.ndarray) -> np.ndarray:
    """Return the softmax of the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def batch(rows: int = 4, local: int = 3) -> dict[str, jax.Array]:
    """Return crops: two of 8 pixels, `local` of 4, and hidden patches in half of the images."""
    rng = np.random.default_rng(1)
    crops = {"view1": rng.normal(size=(rows, 8, 8, 1)), "view2": rng.normal(size=(rows, 8, 8, 1)),
             "local": rng.normal(size=(rows, local, 4, 4, 1))}
    hidden = {name: (rng.random((rows, 16)) < 0.4) & (np.arange(rows)[:, None] % 2 == part)
              for part, name in enumerate(("hidden1", "hidden2"))}
    return {**{n: jnp.asarray(x, jnp.float32) for n, x in crops.items()},
            **{n: jnp.asarray(x) for n, x in hidden.items()}}
