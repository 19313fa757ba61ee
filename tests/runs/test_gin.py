"""gin's spelling of a config: the same tree, the same checks, the same run."""

import json
import sys

import pytest

from ssljax.cli.main import main, parse
from ssljax.core.errors import ConfigError, MissingExtraError
from ssljax.runs.config import check_run, load_config, to_plain

QUICK = "experiments/gpt/quickstart.py"


def plain(*overrides: str) -> dict:
    return to_plain(load_config(QUICK, overrides))


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "run.gin") -> str:
        (tmp_path / name).write_text(text)
        return f"--gin={tmp_path / name}"

    return write


def test_a_gin_file_resolves_to_the_tree_of_the_other_spelling(write, tmp_path):
    write("rate = 2e-3\nbatch_size = 16\noptim.weight_decay = 0.2\n", "base.gin")
    gin = write('''
        # the base of all our runs
        include 'base.gin'
        seq_len = %length            # a reference of the experiment: three places change
        length = 128
        optim:
            lr = %rate
            name = "adamw"
        model.width = 96
        mesh.expert = 1
        mesh.data = %batch_size
    '''.replace("\n        ", "\n"))
    ours = plain("--config.seq_len=128", "--config.batch_size=16", "--config.optim.lr=2e-3",
                 "--config.optim.weight_decay=0.2", "--config.optim.name=adamw",
                 "--config.model.width=96", "--config.mesh.expert=1", "--config.mesh.data=16")
    assert plain(gin) == ours != plain()
    assert ours["pretext"]["seq_len"] == 128


def test_later_words_win_whatever_their_spelling(write):
    gin = write("optim.lr = 1.0\n")
    assert plain(gin, "--config.optim.lr=2.0")["optim"]["lr"] == 2.0
    assert plain("--config.optim.lr=2.0", gin)["optim"]["lr"] == 1.0
    assert plain(gin, "--gin.optim.lr=3.0")["optim"]["lr"] == 3.0
    # A macro of a file is a default for the command line, as in gin.
    assert plain(write("rate = 1.0\noptim.lr = %rate\n"), "--gin.rate=4.0")["optim"]["lr"] == 4.0


@pytest.mark.parametrize("text, message", [
    ("optim.lrr = 1.0", 'line 1: config has no "optim.lrr"; did you mean "optim.lr"'),
    ("batch_sise = 8", 'config has no "batch_sise"; did you mean "batch_size"'),
    ('optim.lr = "fast"', "could not convert string to float: 'fast"),
    ("batch_size = 8.5", "8.5"),
    ("optim.lr = %rate", "%rate is not defined"),
    ("optim.lr = %a\na = %b\nb = %a", "stands for itself"),
    ("import os", "`import os`; gin files of ssljax cannot import"),
    ("from os import path", "`from os import path`"),
    ("optim.name = @adamw", "@adamw is a reference to code"),
    ("optim.name = @adamw()", "@adamw.. is a reference to code"),
    ("train/optim.lr = 1.0", 'scope "train"'),
    ("optim.lr 1.0", "gin's syntax is"),
    ("optim.name = adamw", "gin's syntax is"),
    ("optim = {'name': 'adamw'}", "set its keys one by one"),
    ("include 'absent.gin'", "No gin file absent.gin"),
    ("include 'run.gin'", "includes itself"),
])
def test_a_wrong_gin_file_names_what_was_meant(write, text, message):
    with pytest.raises(ConfigError, match=message):
        check_run(plain(write(text)))


def test_a_gin_config_passes_the_checks_of_every_config(write):
    with pytest.raises(ConfigError, match='models has no "gtp"; did you mean "gpt"'):
        check_run(plain(write('model.name = "gtp"')))


def test_nothing_is_imported_or_called(write, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for text in ("import trap\n", "optim.name = @trap.f()\n"):
        with pytest.raises(ConfigError):
            plain(write(text))
    assert "trap" not in sys.modules


def test_verbs_take_files_and_bindings_in_order(write, capsys):
    path = write("optim.lr = 0.5\nbatch_size = 4\n").removeprefix("--gin=")
    arguments = [QUICK, "--gin", path, "--gin.batch_size=2", "--json"]
    assert parse("config", arguments)[1].overrides == [f"--gin={path}", "--gin.batch_size=2"]
    assert main(["config", *arguments]) == 0
    config = json.loads(capsys.readouterr().out)
    assert (config["optim"]["lr"], config["batch_size"]) == (0.5, 2)


def test_without_the_package_the_extra_is_named(write, monkeypatch):
    gin = write("optim.lr = 1.0")
    monkeypatch.setitem(sys.modules, "gin.config_parser", None)
    with pytest.raises(MissingExtraError, match=r"ssljax\[gin\]"):
        plain(gin)
