"""The training core runs where only jax, flax and optax are: no reader, no overview, no config."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
ABSENT = ("grain", "clu", "ml_collections", "array_record", "seqio", "tensorflow", "orbax",
          "tensorstore", "pyarrow", "tokenizers")
PROGRAM = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)

ABSENT = set(sys.argv[2].split(","))
sys.meta_path.insert(0, Absent())
sys.path[:0] = [sys.argv[1], f"{sys.argv[1]}/tools/bench"]
import jax
import contestant_jax, train_gpu
from ssljax.train.layout import partition
from ssljax.train.state import init_fn
from ssljax.train.step import make_train_step

assert partition()
for case in ("smoke-gpt", "smoke-mae"):
    arguments = dict(batch=0, remat="", layers="auto", loss="auto", matmul="full")
    config = train_gpu.spec_of(case, "cpu", type("Arguments", (), arguments))["config"]
    pretext, objective, tx = contestant_jax.method_of(config)
    init = init_fn(objective, tx, pretext.views, pretext.spec, config["batch_size"])
    state = jax.eval_shape(init, jax.random.key(0))
    step = make_train_step(objective, tx, views=pretext.views, compute_dtype="bfloat16")
    _, metrics = jax.eval_shape(step, state, contestant_jax.made_up(pretext, config))
    assert metrics["loss"].shape == ()
print("traced", *sorted(ABSENT & {name.partition(".")[0] for name in sys.modules}))
"""


def test_a_step_is_traced_without_the_packages_that_read_data():
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(ROOT), ",".join(ABSENT)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "traced"
