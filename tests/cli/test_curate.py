"""`ssljax curate` from the shell's side: what it prints, refuses and returns."""

import subprocess
import sys

import pytest

from ssljax.cli.main import main

# ml_collections loads config files with a call that Python has deprecated.


@pytest.fixture
def folder(tmp_path):
    for i in range(30):
        text = " ".join(f"word{(i + 1) * j * 7919 % 1009}" for j in range(60))
        (tmp_path / f"{i}.md").write_text(text.replace("word7", "longer sentence, "))
    (tmp_path / "short.md").write_text("short")
    return tmp_path


def arguments(folder, *more):
    return ["curate", "--input", str(folder), "--output", str(folder / "out"),
            "--config.vocab_size=300", "--config.options.quality.max_digits=1.0",
            "--config.validation_fraction=0.3", *more]


def test_the_summary_has_what_was_read_kept_and_dropped(folder, capsys):
    assert main(arguments(folder, "--licence", "CC0-1.0")) == 0
    out = capsys.readouterr().out
    for words in ("read", "31", "kept", "30", "dropped: too_short", "train", "validation",
                  "vocabulary 300"):
        assert words in out
    from ssljax.sources.manifest import read_manifest
    manifest = read_manifest(folder / "out")
    assert manifest.licences == {"CC0-1.0": 30}


def test_again_says_that_nothing_was_done(folder, capsys):
    assert main(arguments(folder)) == 0
    capsys.readouterr()
    assert main(arguments(folder)) == 0
    told = capsys.readouterr().err
    assert "unchanged" in told and "nothing to do" in told and "read_files" not in told


def test_another_recipe_fails_until_overwrite(folder, capsys):
    assert main(arguments(folder)) == 0
    assert main([*arguments(folder), "--config.vocab_size=301"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments(folder), "--config.vocab_size=301", "--overwrite"]) == 0


@pytest.mark.parametrize("more, code, says", [
    (["--config.vocabsize=9"], 2, 'did you mean "vocab_size"'),
    (["--config.options.quality.min_words=x"], 2, "min_words"),
    (["--input", "/nowhere/at/all"], 1, "/nowhere/at/all cannot be read"),
    (["--config", "nowhere.py"], 2, "No config file nowhere.py")])
def test_a_mistake_is_one_line_and_an_exit_code(folder, capsys, more, code, says):
    assert main(arguments(folder, *more)) == code
    err = capsys.readouterr().err
    assert says in err and "Traceback" not in err
    assert not (folder / "out").exists()


def test_without_pyarrow_the_extra_is_named(folder):
    code = ("import sys; sys.modules['pyarrow'] = None\nfrom ssljax.cli.main import main\n"
            f"sys.exit(main({arguments(folder)!r}))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'ssljax[curate]'" in done.stderr


def test_help_and_curation_load_no_jax(folder):
    code = ("import sys\nfrom ssljax.cli.main import main\n"
            f"assert main({arguments(folder)!r}) == 0\nassert 'jax' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_executor_that_is_not_installed_is_named_with_its_extra(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "daft", None)
    assert main(arguments(folder, "--executor", "daft")) == 1
    assert "pip install 'ssljax[daft]'" in capsys.readouterr().err
    assert main(arguments(folder, "--executor", "local")) == 0
