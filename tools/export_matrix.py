"""Which jax runs the artefacts that which jax wrote: every writer against every reader, for real.

    python tools/export_matrix.py                                    four versions, sixteen pairs
    python tools/export_matrix.py --versions 0.9.2 0.10.2 --json matrix.json

Makes an environment per version in .export-matrix/ (jax, jaxlib, numpy, flatbuffers, safetensors,
absl-py; 700 MB each), writes an artefact in each by ssljax.export, and loads each in all by
ssljax.serve, which checks the golden answers of every function. A pair ends in one of

    runs      the stored programs run and agree with the golden answers
    again     they do not run; the loader says so in its one message, and the programs lowered from
              the recipe by the reader's jax run and agree
    OBSCURE   anything else; the exit code is then 1

The network is written in jax alone, so that no environment needs the layer library.
"""

import argparse
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

VERSIONS = ("0.8.0", "0.9.0", "0.10.0", "0.10.2")
PACKAGES = ("numpy", "flatbuffers", "safetensors", "absl-py")
ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".export-matrix"
IMAGE, WIDTH, CLASSES = (8, 8, 3), 32, 10


def main() -> None:
    """Run the matrix, or one half of a pair in the environment it is of."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--versions", nargs="+", default=VERSIONS)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        write(args.write)
    elif args.read:
        print(json.dumps(read(args.read)))
    else:
        sys.exit(matrix(args.versions, args.json))


def matrix(versions: list[str], output: Path | None) -> int:
    """Run every pair, print the table; return the exit code."""
    pythons = {version: environment(version) for version in versions}
    for version, python in pythons.items():
        child(python, "--write", HOME / f"artefact-{version}")
    rows = [{"writer": writer, "reader": reader,
             **json.loads(child(python, "--read", HOME / f"artefact-{writer}").splitlines()[-1])}
            for writer in versions for reader, python in pythons.items()]
    cells = {(row["writer"], row["reader"]): row["outcome"] for row in rows}
    print("| written by \\ read by |" + "".join(f" {v} |" for v in versions))
    print("| --- |" + " --- |" * len(versions))
    for writer in versions:
        print(f"| {writer} |" + "".join(f" {cells[writer, v]} |" for v in versions))
    if output:
        output.write_text(json.dumps(rows, indent=1) + "\n")
    return int("OBSCURE" in cells.values())


def environment(version: str) -> Path:
    """Return the python of the environment of a version of jax, made if it is not there."""
    folder = HOME / version
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        print(f"Installing jax {version} in {folder} ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                        f"jax=={version}", f"jaxlib=={version}", *PACKAGES], check=True)
        (folder / "done").touch()
    return python


def child(python: Path, verb: str, folder: Path) -> str:
    """Run this file in another environment; return what it prints."""
    done = subprocess.run([python, __file__, verb, folder], text=True, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"})
    if done.returncode:
        sys.exit(f"{python} {verb} {folder} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def network() -> tuple[Any, dict[str, Any]]:
    """Return a small encoder (patches, attention, norm, GELU) and its weights."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from ssljax.core.types import Model

    def apply(params: Any, inputs: Any, *, stats: Any = None, cache: Any = None,
              key: Any = None, train: bool = False) -> dict[str, Any]:
        image = inputs["image"]
        x = image.reshape(image.shape[0], -1, 12) @ params["w_patch"]
        scores = jnp.einsum("bqd,bkd->bqk", x @ params["w_q"], x) / WIDTH**0.5
        x = x + jax.nn.softmax(scores) @ x
        x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6)
        x = x + jax.nn.gelu(x @ params["w_up"]) @ params["w_down"]
        return {"sequence": x, "pooled": x.mean(1)}

    draw = np.random.default_rng(0)
    shapes = {"w_patch": (12, WIDTH), "w_q": (WIDTH, WIDTH), "w_up": (WIDTH, 4 * WIDTH),
              "w_down": (4 * WIDTH, WIDTH)}
    params = {name: draw.normal(0, shape[0] ** -0.5, shape).astype(np.float32)
              for name, shape in shapes.items()}
    head = {"w": draw.normal(0, 0.2, (WIDTH, CLASSES)).astype(np.float32),
            "b": np.zeros(CLASSES, np.float32)}
    return Model(lambda key, inputs: (params, {}), apply), {"params": params, "head": head}


def write(folder: Path) -> None:
    """Write an artefact of the network with this environment's jax, int8 weights included."""
    from ssljax.export.artefact import Contents, write_artefact
    from ssljax.export.golden import golden_answers
    from ssljax.export.quantise import quantise
    from ssljax.export.recipe import lower

    model, weights = network()
    weights = quantise(weights, "int8")
    about = {"kind": "encoder", "name": "matrix", "lineage": {},
             "image": {"shape": IMAGE, "dtype": "float32"}}
    programs = lower(model, weights, about)
    write_artefact(folder, Contents(about, programs, weights, golden_answers(programs, weights),
                                    {}))


def read(folder: Path) -> dict[str, str]:
    """Return what becomes of an artefact in this environment, and the message where it fails."""
    from ssljax.export.recipe import lower, stored_shapes
    from ssljax.serve.artefact import ProgramError, load_artefact

    def again(path: Path, manifest: Any) -> dict[str, bytes]:
        files = [path / name for name in manifest["weights"]["files"]]
        programs = lower(network()[0], stored_shapes(files), manifest)
        return {name: program.data for name, program in programs.items()}

    try:
        load_artefact(folder)
    except ProgramError as err:
        load_artefact(folder, relower=again)
        return {"outcome": "again", "message": str(err)}
    except Exception as err:
        return {"outcome": "OBSCURE", "message": f"{type(err).__name__}: {err}"}
    return {"outcome": "runs", "message": ""}


if __name__ == "__main__":
    main()
