"""The smallest real run of every objective: plain configs, and data that can be learned from."""

import dataclasses
import functools
import importlib
import json
import pkgutil
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ssljax.core import sharding
from ssljax.core.config import resolve
from ssljax.core.rng import hash64, record_id
from ssljax.core.tree import named_leaves
from ssljax.core.types import Key, TrainState
from ssljax.data.packing import packed
from ssljax.data.stream import Stream
from ssljax.data.stream import stream_of as stream_of_source
from ssljax.runs.build import Method, build_method
from ssljax.sources import captioned, digits
from ssljax.train.state import init_fn, init_state, with_views
from ssljax.train.step import make_train_step

BATCH_SIZE = 16
OPTIM = {"optim": {"name": "adamw", "lr": 1e-2, "clip_norm": 1.0, "weight_decay": 0.1},
         "schedule": {"name": "cosine", "warmup_steps": 2}, "total_steps": 40,
         "batch_size": BATCH_SIZE, "seed": 3}
MESHES = ({"data": 8}, {"fsdp": 8}, {"tensor": 2, "data": 4},
          {"data": 2, "fsdp": 2, "tensor": 2}, {"fsdp": 4, "tensor": 2},
          {"data": 2, "context": 2, "tensor": 2}, {"expert": 2, "fsdp": 4},
          {"stage": 2, "fsdp": 2, "tensor": 2})


def tiny(package: str, name: str) -> dict:
    """Return the spec of a plug-in with its own TINY arguments."""
    return {"name": name, **importlib.import_module(f"ssljax.{package}.{name}").TINY}


# objective -> (model, pretext): what its docstring says it reads.
CASES = {
    "next_token": ("gpt", "next_token"),
    "simclr": ("vit", "two_views"),
    "moco_v2": ("vit", "two_views"),
    "moco_v3": ("vit", "two_views"),
    "byol": ("resnet", "two_views"),
    "simsiam": ("vit", "two_views"),
    "swav": ("vit", "two_views"),
    "barlow_twins": ("vit", "two_views"),
    "vicreg": ("vit", "two_views"),
    "lejepa": ("vit", "two_views"),
    "dino": ("vit", "multi_crop"),
    "ibot": ("vit", "multi_crop"),
    "dinov2": ("vit", "multi_crop"),
    "data2vec": ("vit", "masked_patches"),
    "mae": ("vit", "masked_patches"),
    "simmim": ("vit", "masked_patches"),
    "maskfeat": ("vit", "masked_patches"),
    "ijepa": ("vit", "multi_block"),
    "aim": ("vit", "masked_patches"),
    "rotation": ("vit", "rotations"),
    "relative_location": ("vit", "patch_pairs"),
    "jigsaw": ("vit", "jigsaw"),
    "flow_matching": ("dit", "flow_pairs"),
    "image_gpt": ("pixel_gpt", "pixel_tokens"),
    "clip": ("vit", "image_text"),
    "siglip": ("vit", "image_text"),
}
NESTED = {"mae": {"decoder": lambda: tiny("models", "vit_decoder")},
          "data2vec": {"decoder": lambda: tiny("models", "conv_decoder")},
          "ijepa": {"predictor": lambda: {**tiny("models", "vit_predictor"), "depth": 2}},
          "clip": {"text_model": lambda: tiny("models", "text_encoder")},
          "siglip": {"text_model": lambda: tiny("models", "text_encoder")}}
# objective -> what it needs of its model or pretext beside their TINY.
OPTIONS = {"aim": {"model": {"causal": True}},
           # Blocks that start as the identity hide their convolutions from the first gradient.
           "byol": {"model": {"zero_scale": False}},
           "data2vec": {"model": {"collect": 2, "class_token": True},
                        "pretext": {"kind": "inverse_block", "ratio": 0.8, "block": 1,
                                    "masks": 2}}}


def plugins(package: str) -> list[str]:
    """Return the names of a package's plug-in files: those with a `make`."""
    home = importlib.import_module(f"ssljax.{package}")
    return [m.name for m in pkgutil.iter_modules(home.__path__)
            if hasattr(importlib.import_module(f"ssljax.{package}.{m.name}"), "make")]


def config_of(objective: str) -> dict:
    """Return the plain config of an objective's smallest run."""
    model, pretext = CASES[objective]
    spec = tiny("objectives", objective)
    spec |= {key: make() for key, make in NESTED.get(objective, {}).items()}
    options = OPTIONS.get(objective, {})
    return {**OPTIM, "model": {**tiny("models", model), **options.get("model", {})},
            "pretext": {**tiny("pretext", pretext), **options.get("pretext", {})},
            "objective": spec}


@dataclasses.dataclass(frozen=True)
class Sentences:
    """An in-memory text source: arithmetic sequences modulo 61, which a network can learn."""

    count: int = 200

    def __len__(self) -> int:
        return self.count

    def read(self, indices: np.ndarray) -> list[dict]:
        return [{"id": record_id("sentences", int(i)), "tokens": self.tokens(int(i))}
                for i in indices]

    def tokens(self, index: int) -> np.ndarray:
        step, length = 1 + index % 3, 5 + index % 20
        return (1 + (index + step * np.arange(length)) % 61).astype(np.int32)

    def lengths(self) -> np.ndarray:
        return np.array([len(self.tokens(i)) for i in range(self.count)])

    def fingerprint(self) -> dict[str, str]:
        return {"sentences": str(self.count)}


def stream_of(method: Method, *, batch_size: int = BATCH_SIZE, seed: int = 3) -> Stream:
    """Return the data of a case: packed sentences, or scikit-learn's digits, with captions."""
    if "image" in method.pretext.spec:
        source = captioned.make(source=digits.make(split="train"), classes="0123456789")
    else:
        (seq_len,), _ = method.pretext.spec["tokens"]
        source = packed(Sentences(), seq_len=seq_len, end_of_text=0, seed=seed)
    return stream_of_source(source, method.pretext.example, batch_size=batch_size, seed=seed)


@functools.cache
def viewed(pretext: str) -> Callable[[Key, dict], dict]:
    """Return the device part of a pretext, given as JSON, compiled once for all who share it."""
    views = resolve("pretext", json.loads(pretext)).views
    return jax.jit(lambda key, batch: with_views(views, key, batch))


@functools.cache
def case(objective: str) -> tuple[Method, tuple[dict, ...]]:
    """Return the method of an objective and its first batches with their views, on the host.

    Views are made beforehand: in a step they are half of what there is to compile, and that they
    do not depend on the mesh is tested in tests/pretext.
    """
    config = config_of(objective)
    method = build_method(config)
    stream = stream_of(method)
    views = viewed(json.dumps(config["pretext"], sort_keys=True))
    batches = (views(method.key, sharding.place_batch(None, stream.host_rows(t, 0, 1)))
               for t in range(6))
    return method, tuple(jax.tree.map(np.asarray, batch) for batch in batches)


def as_they_are(key: Key, example: dict) -> dict:
    """Add no views: those of a case's batches are made."""
    del key, example
    return {}


def chosen_mesh(name: str) -> dict[str, int]:
    """Return the one mesh that a plug-in is proved on in the fast tests."""
    return MESHES[hash64(name) % len(MESHES)]


class Start(NamedTuple):
    """The first steps of a case.

    losses:    of every step
    gradients: by name of the weight, of the first step
    """

    losses: list[float]
    gradients: dict[str, np.ndarray]


def recorded() -> optax.GradientTransformation:
    """Return a rule that passes gradients on and keeps them as its state."""
    return optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params),
                                        lambda grads, state, params=None: (grads, grads))


class Program(NamedTuple):
    """A case compiled: how it starts, and one step whose gradients stay in the state."""

    init: Callable[[Key], TrainState]
    step: Callable[[TrainState, dict], tuple[TrainState, dict]]


def program_of(objective: str, **options) -> Program:
    """Return the program of a case; states are not donated, so that tests can step twice."""
    method, _ = case(objective)
    tx = optax.chain(recorded(), method.tx)
    init = init_fn(method.objective, tx, method.pretext.views, method.pretext.spec, BATCH_SIZE)
    return Program(init, jax.jit(make_train_step(method.objective, tx, views=as_they_are,
                                                 layout=method.layout, **options)))


# One compilation of a case serves every contract that needs no mesh; the last few are kept.
program = functools.lru_cache(maxsize=2)(program_of)


@functools.lru_cache(maxsize=2)
def initial(objective: str) -> TrainState:
    """Return the state a case starts from, without a mesh.

    Committed to its device as a checkpoint's is: else a resumed state would compile once more.
    """
    state = init_state(program(objective).init, case(objective)[0].key, None)
    return jax.device_put(state, jax.devices()[0])


def gradients_of(state: TrainState) -> dict[str, np.ndarray]:
    """Return the gradients of the last step by name of the weight, as `recorded` kept them."""
    return {name: np.array(leaf) for name, leaf in named_leaves(state.opt_state[0]).items()}


def first_steps(objective: str, mesh: jax.sharding.Mesh | None, steps: int = 3, **options,
                ) -> Start:
    """Return the first steps of a case on a mesh: losses and gradients of one compiled program."""
    method, batches = case(objective)
    one = program(objective) if mesh is None and not options else program_of(objective, **options)
    with sharding.use_mesh(mesh):
        state = init_state(one.init, method.key, mesh, method.layout)
        losses, gradients = [], {}
        for batch in batches[:steps]:
            state, metrics = one.step(state, sharding.place_batch(mesh, batch))
            losses.append(float(metrics["loss"]))
            gradients = gradients or gradients_of(state)
    return Start(losses, gradients)


@functools.lru_cache(maxsize=2)
def alone(objective: str) -> Start:
    """Return the first steps of a case without a mesh."""
    return first_steps(objective, None)


@functools.lru_cache(maxsize=2)
def on_chosen_mesh(objective: str) -> Start:
    """Return the first steps of a case on the one mesh of the fast tests."""
    return first_steps(objective, sharding.make_mesh(chosen_mesh(objective)))
