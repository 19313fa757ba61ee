"""Our losses beside lightly's and transformers': values and gradients of the same arrays.

    python tools/bench/losses.py [--json FILE]

lightly (https://github.com/lightly-ai/lightly) and, for CLIP and SigLIP, transformers
(https://github.com/huggingface/transformers) compute in float64 from .bench-env (make bench-env),
ours as it trains, in float32 with sums in float32. Columns are relative differences of
the loss and of its whole gradient; both are expected below 1e-5. Where conventions differ, the
published one is ours and the factor is in the table of `ours`.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import rounds

from ssljax.families.distillation import centred_targets, cross_view_nats, masked_nats
from ssljax.families.joint import unit
from ssljax.families.pairwise import sigmoid_nats
from ssljax.families.sinkhorn import sinkhorn
from ssljax.objectives import (
    barlow_twins,
    clip,
    dinov2,
    lejepa,
    moco_v2,
    simclr,
    simsiam,
    swav,
    vicreg,
)

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".bench-env/bin/python"
B, E, K = 64, 48, 96
TRANSFORMERS = ("clip", "siglip")

Loss = tuple[str, Callable[[jax.Array], jax.Array]]


def arrays() -> dict[str, np.ndarray]:
    """Return what losses are computed of.

    Embeddings z [B, E] of two related views, a queue [K, E] of unit rows, scores [B, K] and
    directions [E, 32].
    """
    draw = np.random.default_rng(0)
    z1 = draw.normal(size=(B, E))
    a = draw.normal(size=(E, 32))
    scores = {f"scores{i}": np.tanh(draw.normal(size=(B, K))) for i in (1, 2, 3, 4)}
    queue = draw.normal(size=(K, E))
    return {"z1": z1, "z2": z1 + 0.5 * draw.normal(size=(B, E)),
            "queue": queue / np.linalg.norm(queue, axis=1, keepdims=True),
            "directions": a / np.linalg.norm(a, axis=0), **scores}


def ours(given: Mapping[str, np.ndarray]) -> dict[str, Loss]:
    """Return name -> (the array that it is differentiated by, the loss)."""
    b = {k: jnp.asarray(v, jnp.float32) for k, v in given.items()}

    def weighted(z: jax.Array) -> jax.Array:
        found = vicreg.terms(z, b["z2"], "mean")     # the hinges' mean, as in the released code
        return 25 * found.invariance + 25 * found.variance + found.covariance

    def swapped(s: jax.Array) -> jax.Array:
        codes = [sinkhorn(x, temperature=0.05) for x in (s, b["scores2"])]
        log_p = [jax.nn.log_softmax(x / 0.1) for x in (s, b["scores2"], b["scores3"])]
        return jnp.mean(swav.swapped(codes, log_p))

    def targets(*names: str) -> jax.Array:
        stacked = jnp.stack([b[n] for n in names], axis=1)
        return centred_targets(stacked, jnp.zeros(K), 0.05)

    return {
        "simclr": ("z1", lambda z: simclr.nt_xent(z, b["z2"], 0.2)[0] / (2 * B)),
        "moco_v2": ("z1", lambda z: moco_v2.contrast(
            unit(z), unit(b["z2"]), b["queue"], 0.2)[0] / B),
        "clip": ("z1", lambda z: clip.symmetric_nats(unit(z), unit(b["z2"]), 10.0)[0] / B),
        "siglip": ("z1", lambda z: sigmoid_nats(
            unit(z), unit(b["z2"]), jnp.float32(10), jnp.float32(-10)) / B),
        "simsiam": ("z1", lambda z: jnp.mean(simsiam.negative_cosines(z, b["z2"]))),
        "barlow_twins": ("z1", lambda z: barlow_twins.redundancy(z, b["z2"], 0.0051)[0]),
        "vicreg": ("z1", weighted),
        "swav": ("scores1", swapped),
        "dino": ("scores1", lambda s: cross_view_nats(
            targets("scores2", "scores3"), jnp.stack([s, b["scores4"]], axis=1), None, 0.1) / B),
        "ibot": ("scores1", lambda s: masked_nats(
            targets("scores2")[:, 0], s, jnp.ones(B), 0.1)),
        "koleo": ("z1", lambda z: dinov2.koleo(z) / B),
        "sigreg": ("z1", lambda z: lejepa.sigreg(z, b["directions"])),
    }


def theirs(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the peers' values and gradients."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(source, **given)
        subprocess.run([str(PYTHON), str(Path(__file__).with_name("contestant_losses.py")),
                        str(source), str(output)], check=True)
        return dict(np.load(output))


def compare(given: Mapping[str, np.ndarray]) -> list[dict]:
    """Return a row for each loss: relative differences of value and gradient."""
    peer, rows = theirs(given), []
    for name, (array, function) in ours(given).items():
        value, gradient = jax.value_and_grad(function)(jnp.asarray(given[array], jnp.float32))
        right, slope = float(peer[name]), peer[f"{name}/gradient"]
        for metric, found in (("loss", abs(float(value) - right) / abs(right)),
                              ("gradient", np.linalg.norm(gradient - slope)
                               / np.linalg.norm(slope))):
            rows.append(rounds.row(name, metric, "relative difference", float(found), None,
                                   "transformers" if name in TRANSFORMERS else "lightly",
                                   "below 1e-5" if found < 1e-5 else "DIFFERS"))
    return rows


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    args = parser.parse_args()
    if not PYTHON.exists():
        sys.exit("lightly is not installed: run `make bench-env`.")
    rows = compare(arrays())
    rounds.show(rows)
    rounds.write(args.json, "losses", {"python": sys.version.split()[0]}, rows)


if __name__ == "__main__":
    main()
