"""Our step, our whole trainer, a bare loop and a bare product: contestants of the benchmarks.

    python tools/bench/contestant_jax.py KIND SPEC

KIND is step (model, objective, optimizer and train step on one batch), trainer (`ssljax pretrain`
on made-up token shards), bare (sixty lines of plain JAX) or matmul (products of 2048 x 2048).
SPEC is JSON: config (of a run), dtype, vocab_size, width, ... as contestant_torch.py reads it.
`step` imports nothing that reads data: it runs where only jax, flax and optax are installed.
"""

import json
import pathlib
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rounds import serve

Steps = Callable[[int], None]
ROOT = pathlib.Path(__file__).parents[2]


def method_of(config: Mapping[str, Any]) -> tuple:
    """Return pretext, objective and optimizer of a plain config, without the data packages."""
    from ssljax.core.config import resolve
    from ssljax.optim.compose import compose

    model = resolve("models", config["model"])
    objective = resolve("objectives", config["objective"], model,
                        total_steps=config["total_steps"])
    schedule = resolve("schedules", config["schedule"], config["total_steps"])
    return resolve("pretext", config["pretext"]), objective, compose(config["optim"], schedule)


def made_up(pretext: Any, config: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Return a batch of the pretext's arrays: random tokens of whole rows, or random pixels."""
    random, rows = np.random.default_rng(0), config["batch_size"]
    batch = {"epoch": np.zeros(rows, np.int32)}
    for name, (shape, dtype) in pretext.spec.items():
        top = config["model"].get("vocab_size", 256) if dtype != "float32" else 1
        batch[name] = (random.integers(0, top, (rows, *shape)).astype(dtype)
                       if dtype != "float32" else random.random((rows, *shape), np.float32))
    if "positions" in batch:
        length = batch["positions"].shape[1]
        batch["positions"] = np.tile(np.arange(length, dtype=np.int32), (rows, 1))
        batch["loss_weight"] = np.ones((rows, length), np.float32)
        batch["segment_ids"] = np.ones((rows, length), np.int32)
        if not config.get("packed", True):
            del batch["segment_ids"]
    return jax.tree.map(jnp.asarray, batch)


def our_step(spec: Mapping[str, Any]) -> tuple[Steps, dict]:
    """Return steps of the train step of every run, on one batch that stays on the device."""
    from ssljax.train.state import init_fn, init_state
    from ssljax.train.step import make_train_step

    config = spec["config"]
    pretext, objective, tx = method_of(config)
    batch = made_up(pretext, config)
    init = init_fn(objective, tx, pretext.views, pretext.spec, config["batch_size"])
    state = [init_state(init, jax.random.key(0), None)]
    train_step = make_train_step(objective, tx, views=pretext.views,
                                 compute_dtype=config["compute_dtype"],
                                 log_steps=config.get("log_steps", 1))
    step = jax.jit(train_step, donate_argnums=0).lower(state[0], batch).compile()

    def steps(count: int) -> None:
        for _ in range(count):
            state[0], metrics = step(state[0], batch)
        jax.block_until_ready(metrics)

    memory = step.memory_analysis()
    return steps, {"params": sum(x.size for x in jax.tree.leaves(state[0].params)),
                   "temporary_bytes": memory.temp_size_in_bytes if memory else 0}


def write_shards(folder: pathlib.Path, vocab_size: int, tokens: int) -> None:
    """Write made-up documents as a dataset of token shards."""
    from ssljax.core.files import sha256
    from ssljax.sources.manifest import File, Manifest, Shard, write_manifest
    from ssljax.tokenizers import bpe

    random = np.random.default_rng(0)
    lengths = np.full(tokens // 512, 512)
    (folder / "train").mkdir(parents=True)
    flat, offsets = folder / "train/00000.tokens", folder / "train/00000.offsets"
    random.integers(1, 256, lengths.sum()).astype("<u2").tofile(flat)
    np.cumsum([0, *lengths]).astype("<i8").tofile(offsets)
    (folder / "tokenizer.json").write_text(bpe.train(["made-up text"] * 9, vocab_size=300))
    files = [File("train/00000.offsets", offsets.stat().st_size, sha256(offsets)),
             File("tokenizer.json", (folder / "tokenizer.json").stat().st_size,
                  sha256(folder / "tokenizer.json"))]
    total = int(lengths.sum())
    shard = Shard("train/00000.tokens", flat.stat().st_size, sha256(flat), "train", len(lengths),
                  total)
    write_manifest(folder, Manifest(
        name="bench", version="1", parents=(), licences={}, recipe={}, recipe_hash="",
        tokenizer_hash=files[1].sha256, vocab_size=300, shards=(shard,), files=tuple(files),
        read=len(lengths), kept=len(lengths), dropped={},
        splits={"train": {"documents": len(lengths), "tokens": total, "text_bytes": 0}}))


def whole_trainer(spec: Mapping[str, Any]) -> None:
    """Run `pretrain`; the evaluator in pause.py makes it take turns."""
    from ssljax.runs.pretrain import pretrain

    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        write_shards(home / "data", spec["config"]["model"]["vocab_size"], 2_000_000)
        config = {k: v for k, v in spec["config"].items() if k != "packed"} | {
            "source": {"name": "token_shards", "path": str(home / "data"), "split": "train"},
            "evals": {"pause": {"name": "tools.bench.pause", "every": spec["steps"]}}}
        try:
            pretrain(config, home / "run")
        except KeyboardInterrupt:
            return


def bare(spec: Mapping[str, Any]) -> tuple[Steps, dict]:
    """Return steps of the network as a competent user writes it in an afternoon."""
    V, D, depth, H, F = (spec[n] for n in ("vocab_size", "width", "depth", "num_heads", "mlp_dim"))
    B, L, K = spec["batch_size"], spec["seq_len"], D // H
    keys = iter(jax.random.split(jax.random.key(0), 8 * depth + 1))

    def matrix(*shape: int) -> jax.Array:
        return jax.random.normal(next(keys), shape) * shape[0] ** -0.5

    params = {"table": 0.02 * jax.random.normal(next(keys), (V, D)), "norm": jnp.ones(D)}
    params["blocks"] = [
        {"norm1": jnp.ones(D), "norm2": jnp.ones(D), "qkv": matrix(D, 3 * D), "out": matrix(D, D),
         "gate": matrix(D, F), "up": matrix(D, F), "down": matrix(F, D)} for _ in range(depth)]
    angle = jnp.arange(L)[:, None] * 10_000.0 ** (-jnp.arange(K // 2) / (K // 2))
    cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]

    def norm(x: jax.Array, scale: jax.Array) -> jax.Array:
        wide = x.astype(jnp.float32)
        wide *= jax.lax.rsqrt(jnp.mean(wide**2, -1, keepdims=True) + 1e-6)
        return (wide * scale).astype(x.dtype)

    def rope(x: jax.Array) -> jax.Array:
        a, b = jnp.split(x, 2, -1)
        return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1).astype(x.dtype)

    def loss(params: Any, tokens: jax.Array, targets: jax.Array) -> jax.Array:
        params = jax.tree.map(lambda p: p.astype(spec["dtype"]), params)
        x = params["table"][tokens]
        for block in params["blocks"]:
            q, k, v = jnp.split((norm(x, block["norm1"]) @ block["qkv"]).reshape(B, L, 3 * H, K),
                                3, 2)
            y = jax.nn.dot_product_attention(rope(q), rope(k), v, is_causal=True)
            x = x + y.reshape(B, L, D) @ block["out"]
            y = norm(x, block["norm2"])
            x = x + (jax.nn.silu(y @ block["gate"]) * (y @ block["up"])) @ block["down"]
        logits = (norm(x, params["norm"]) @ params["table"].T).astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3, weight_decay=0.1))

    def step(params: Any, opt_state: Any, tokens: jax.Array, targets: jax.Array) -> tuple:
        value, grads = jax.value_and_grad(loss)(params, tokens, targets)
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    tokens, targets = jax.random.randint(jax.random.key(1), (2, B, L), 0, V)
    state, run = [params, tx.init(params)], jax.jit(step, donate_argnums=(0, 1))

    def steps(count: int) -> None:
        for _ in range(count):
            *state[:], value = run(*state, tokens, targets)
        jax.block_until_ready(value)

    return steps, {"params": sum(x.size for x in jax.tree.leaves(params))}


def matmul(spec: Mapping[str, Any]) -> tuple[Steps, dict]:
    """Return products of 2048 x 2048 matrices (8192 on accelerators), four to a step."""
    n = 2048 if jax.default_backend() == "cpu" else 8192
    a = jax.random.normal(jax.random.key(0), (n, n)).astype(spec["dtype"])
    product = jax.jit(jnp.dot)

    def steps(count: int) -> None:
        for _ in range(4 * count):
            b = product(a, a)
        jax.block_until_ready(b)

    return steps, {"flops": 4 * 2 * n**3}


def main() -> None:
    """Prepare, and take turns."""
    kind, spec = sys.argv[1], json.loads(sys.argv[2])
    if kind == "trainer":
        whole_trainer(spec)
        return
    steps, about = {"step": our_step, "bare": bare, "matmul": matmul}[kind](spec)
    steps(2)
    device = jax.devices()[0]
    serve(steps, {**about, "version": jax.__version__, "device": device.device_kind})


if __name__ == "__main__":
    main()
