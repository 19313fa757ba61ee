"""A wrong config fails before anything compiles, and says what was meant."""

import pathlib
import subprocess
import sys

import pytest

from ssljax.core.config import resolve
from ssljax.core.errors import ConfigError
from ssljax.runs.config import check_run, config_differences, load_config, to_plain

QUICK = "experiments/gpt/quickstart.py"


def plain(*overrides: str, path: str = QUICK) -> dict:
    return to_plain(load_config(path, overrides))


# Files without get_config hold what several experiments share.
EXPERIMENTS = [str(path) for path in sorted(pathlib.Path("experiments").rglob("[a-z]*.py"))
               if "def get_config" in path.read_text()]


@pytest.mark.parametrize("path", EXPERIMENTS)
@pytest.mark.parametrize("arg", ["", ":smoke"])
def test_every_experiment_is_a_valid_run(path, arg):
    check_run(plain(path=path + arg))


def test_overrides_reach_references():
    config = plain("--config.seq_len=64", "--config.optim.lr=1e-3")
    assert config["pretext"]["seq_len"] == 64
    assert config["evals"]["bits_per_byte"]["seq_len"] == 64
    assert config["optim"]["lr"] == 1e-3


@pytest.mark.parametrize("overrides, message", [
    (["--config.optim.lrr=1"], 'no "optim.lrr"; did you mean "optim.lr"'),
    (["--config.optim.lr=fast"], "could not convert string to float: 'fast"),
    (["--config.optim.lr"], "has no value"),
    (["--config.model.name=gtp"], 'models has no "gtp"; did you mean "gpt"'),
    (["--config.compute_dtype=float23"], 'did you mean "float32"'),
    (["--config.batch_size=0"], "batch_size = 0; expected at least 1"),
    (["--config.seed=-1"], "seed = -1"),
    (["--config.mesh.data=two"], "two"),
])
def test_a_wrong_override_names_what_was_meant(overrides, message):
    with pytest.raises(ConfigError, match=message):
        check_run(plain(*overrides))


@pytest.mark.parametrize("change, message", [
    ({"optimm": {}}, 'no place for "optimm"; did you mean "optim"'),
    ({"model": {"name": "gpt", "widht": 8}}, 'no option "widht"; did you mean "width"'),
    ({"model": {"name": "gpt", "vocab_size": 64, "width": "wide", "depth": 1, "num_heads": 1}},
     "width = 'wide' is a str; expected int"),
    ({"model": {"name": "gpt", "width": 64, "depth": 1, "num_heads": 1}}, 'needs "vocab_size"'),
    ({"model": {"name": "gpt", "vocab_size": 64, "width": 64, "depth": 1, "num_heads": 1,
                "layers": "unrol"}}, "layers = 'unrol'"),
    ({"model": "gpt"}, "expected"),
    ({"model": {"width": 8}}, 'no "name"'),
    ({"evals": {"bpb": {"name": "bits_per_bite"}}}, 'did you mean "bits_per_byte"'),
    ({"total_steps": "many"}, "total_steps = 'many'"),
])
def test_a_wrong_file_names_what_was_meant(change, message):
    with pytest.raises(ConfigError, match=message):
        check_run({**plain(), **change})


def test_a_missing_key_is_named():
    config = plain()
    del config["optim"]
    with pytest.raises(ConfigError, match='needs "optim"'):
        check_run(config)


def test_a_missing_file_names_its_neighbour():
    with pytest.raises(ConfigError, match="did you mean.*quickstart.py"):
        load_config("experiments/gpt/quickstrat.py")


def test_experiments_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(QUICK).model.name == "gpt"


def test_differences_leave_out_what_a_run_may_change():
    a = plain()
    assert config_differences(a, {**a, "total_steps": 7, "mesh": {"fsdp": 2}}) == []
    b = plain("--config.optim.lr=0.5")
    assert config_differences(a, b) == [f"optim.lr: {a['optim']['lr']} there, 0.5 now"]


def test_a_dotted_name_reaches_a_module_outside(tmp_path, monkeypatch):
    (tmp_path / "mylab.py").write_text("def make(total_steps, *, slope: float = 1.0):\n"
                                       "    return lambda step: slope * step / total_steps\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mypkg").mkdir()
    (tmp_path / "mypkg" / "__init__.py").write_text("")
    (tmp_path / "mypkg" / "line.py").write_text((tmp_path / "mylab.py").read_text())
    assert resolve("schedules", {"name": "mypkg.line", "slope": 2.0}, 10)(5) == 1.0
    with pytest.raises(ConfigError, match="cannot be imported"):
        resolve("schedules", {"name": "mypkg.absent"}, 10)


def test_the_config_verb_prints_parameters_without_data():
    out = subprocess.run([sys.executable, "-m", "ssljax.cli.main", "config", f"{QUICK}:smoke"],
                         capture_output=True, text=True, check=True).stdout
    assert '"vocab_size": 4096' in out
    assert "decoder/blocks/attention/w_qkv" in out


@pytest.mark.parametrize("name, text, value", [
    ("rewinds", "3", 3), ("checkpoint_root", "gs://bucket/run", "gs://bucket/run"),
    ("zero1", "true", True), ("model.remat", "full", "full"), ("optim.average", "0.999", 0.999),
    ("objective.z_loss", "1e-4", 1e-4), ("mesh.expert", "2", 2),
    ("evals.bits_per_byte.overlap", "8", 8)])
def test_what_an_experiment_leaves_out_can_be_set_too(name, text, value):
    config = load_config("experiments/gpt/quickstart.py", [f"--config.{name}={text}"])
    plain = to_plain(config)
    check_run(plain)
    for part in name.split("."):
        plain = plain[part]
    assert plain == value
    assert type(plain) is type(value)


@pytest.mark.parametrize("name, said", [
    ("rewind", 'config has no "rewind"; did you mean "rewinds"'),
    ("model.remats", 'did you mean "model.remat"'), ("optim.averag", '"optim.average"'),
    ("batch_size.deep", "config has no")])
def test_what_a_run_cannot_have_is_refused_with_the_nearest_name(name, said):
    with pytest.raises(ConfigError, match=said):
        load_config("experiments/gpt/quickstart.py", [f"--config.{name}=1"])


def test_a_value_of_the_wrong_type_is_refused_also_where_it_is_new():
    config = load_config("experiments/gpt/quickstart.py", ["--config.rewinds=often"])
    with pytest.raises(ConfigError, match="config.rewinds = 'often'; expected int"):
        check_run(to_plain(config))
