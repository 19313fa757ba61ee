"""Export target "saved_model": the functions of an artefact for TensorFlow, by jax2tf.

Every function without a cache becomes a signature of that name, rows and tokens of any number:
score, embed, sequence, classify. (Generation keeps its cache in the engine and stays with the
native artefact.) The weights are variables; the programs are XLA's, so the runtime must have XLA:
see https://docs.jax.dev/en/latest/jax2tf.html. What was written is loaded again by a TensorFlow in
a process of its own, without jax, and must answer as jax did.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssljax.core.errors import ArtefactError, needed
from ssljax.core.tree import named_leaves, unflatten
from ssljax.export.artefact import Contents
from ssljax.export.foreign import card_without_use, write_foreign
from ssljax.export.stablehlo import Program

BOUND = 1e-4          # of the largest answer; float32 sums in another order differ by 1e-6
SIZES = ({"b": 1, "l": 5}, {"b": 3, "l": 12})
USE = """\
    import tensorflow
    model = tensorflow.saved_model.load(".")
    model.signatures["{name}"](...)

Inputs and outputs of every signature are named in ssljax_export.json.
"""

CHILD = """
import json, sys
sys.modules["jax"] = None        # as where it is not installed: importing it fails
import numpy, tensorflow
loaded, errors = tensorflow.saved_model.load(sys.argv[1]), {}
for name, cases in json.load(open(sys.argv[2])).items():
    for case in cases:
        found = loaded.signatures[name](
            **{k: tensorflow.constant(numpy.load(path)) for k, path in case["inputs"].items()})
        for key, path in case["outputs"].items():
            right = numpy.load(path)
            error = abs(found[key].numpy() - right).max() / max(1.0, abs(right).max())
            errors[name] = max(errors.get(name, 0.0), float(error))
print("errors", json.dumps(errors))
"""


def write(output: Path, contents: Contents) -> dict[str, Any]:
    """Write the folder; return what `write_foreign` does.

    Raises:
        MissingExtraError: TensorFlow is not installed.
        ArtefactError: TensorFlow answers otherwise, or `output` is something else.
    """
    with needed("tensorflow", "jax2tf"):
        import tensorflow as tf
    programs = {name: p for name, p in contents.programs.items()
                if not any(key.startswith("cache/") for key in p.inputs)}

    def fill(folder: Path) -> Mapping[str, Any]:
        save(tf, folder, programs, contents.weights)
        errors = verify(folder, programs, contents)
        use = USE.format(name=next(iter(programs)))
        (folder / "README.md").write_text(card_without_use(contents.files["README.md"], use))
        for name in ("config.json", "tokenizer.json"):
            if name in contents.files:
                (folder / name).write_bytes(contents.files[name])
        return {"signatures": {name: {
            "inputs": plain_names(p.inputs), "outputs": plain_names(p.outputs),
            "error_in_tensorflow": errors[name], "bound": BOUND} for name, p in programs.items()},
            "versions": {"jax": jax.__version__, "tensorflow": tf.__version__}}

    return write_foreign(output, contents.about, "saved_model", fill)


def plain_names(specs: Mapping[str, Any]) -> dict[str, Any]:
    """Return specs by names that TensorFlow can take as keywords."""
    return {key.replace("/", "_"): spec for key, spec in specs.items()}


def save(tf: Any, folder: Path, programs: Mapping[str, Program], weights: Any) -> None:
    """Write the SavedModel of some functions."""
    module = tf.Module()
    # One list of variables: attributes of dicts would need names that TensorFlow accepts.
    leaves, structure = jax.tree.flatten(weights)
    module.weights = [tf.Variable(np.asarray(leaf), trainable=False) for leaf in leaves]
    signatures = {}
    for name, program in programs.items():
        call = converted(program, structure)

        @tf.function(autograph=False)
        def signature(_call: Any = call, **inputs: Any) -> Any:
            return _call(module.weights, inputs)

        specs = {key: tf.TensorSpec([n if isinstance(n, int) else None for n in spec["shape"]],
                                    spec["dtype"], name=key)
                 for key, spec in plain_names(program.inputs).items()}
        signatures[name] = signature.get_concrete_function(**specs)
    tf.saved_model.save(module, str(folder), signatures=signatures)


def converted(program: Program, structure: Any) -> Any:
    """Return a function of (list of weights, inputs by plain name) that TensorFlow can trace."""
    from jax.experimental import jax2tf  # imports TensorFlow

    names = {key.replace("/", "_"): key for key in program.inputs}

    def flat(leaves: list[Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        weights = jax.tree.unflatten(structure, leaves)
        named = unflatten({names[key]: value for key, value in inputs.items()})
        return plain_names(named_leaves(program.function(weights, named)))

    shapes = {key: "(" + ", ".join(map(str, spec["shape"])) + ",)"
              for key, spec in plain_names(program.inputs).items()}
    return jax2tf.convert(flat, polymorphic_shapes=[None, shapes], with_gradient=False,
                          polymorphic_constraints=program.constraints)


def verify(folder: Path, programs: Mapping[str, Program], contents: Contents) -> dict[str, float]:
    """Return the largest difference of each function in a TensorFlow of its own, of its scale.

    Raises:
        ArtefactError: one is larger than BOUND, or the folder cannot be loaded.
    """
    with tempfile.TemporaryDirectory() as place:
        todo = {name: [save_case(Path(place), f"{name}{i}", program, sizes, contents)
                       for i, sizes in enumerate(SIZES)] for name, program in programs.items()}
        listing = Path(place, "cases.json")
        listing.write_text(json.dumps(todo))
        done = subprocess.run([sys.executable, "-c", CHILD, str(folder), str(listing)],
                              capture_output=True, text=True)
    last = done.stdout.strip().rpartition("\n")[2]
    if done.returncode or not last.startswith("errors "):
        raise ArtefactError(f"TensorFlow cannot run what was written: {done.stderr[-500:]}")
    errors = json.loads(last.removeprefix("errors "))
    for name, error in errors.items():
        if not error <= BOUND:                        # a nan is no agreement
            raise ArtefactError(f"{name} in TensorFlow differs by {error:.1e} of its scale from "
                                f"jax; at most {BOUND:.0e} is rounding. Nothing was written.")
    return errors


def save_case(place: Path, name: str, program: Program, sizes: Mapping[str, int],
              contents: Contents) -> dict[str, dict[str, str]]:
    """Run a function on random inputs in jax; return the files of its inputs and answers."""
    draw, context = np.random.default_rng(0), contents.about.get("max_context", 1)
    sizes = {**sizes, "l": min(sizes["l"], context)}
    shapes = {key: [n if isinstance(n, int) else sizes[n] for n in spec["shape"]]
              for key, spec in program.inputs.items()}
    limits = {"tokens": contents.about.get("vocab_size", 1), "last": sizes["l"]}
    inputs = {key: draw.random(shape, np.float32) if key not in limits else
              draw.integers(limits[key], size=shape, dtype=np.int32)
              for key, shape in shapes.items()}
    outputs = jax.jit(program.function)(contents.weights, unflatten(inputs))

    def put(kind: str, arrays: Mapping[str, Any]) -> dict[str, str]:
        files = {key: str(place / f"{name}_{kind}_{key}.npy") for key in arrays}
        for key, file in files.items():
            np.save(file, np.asarray(arrays[key]))
        return files

    return {"inputs": put("in", plain_names(inputs)),
            "outputs": put("out", plain_names(named_leaves(outputs)))}
