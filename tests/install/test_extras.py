"""Each extra is enough for what it promises: nothing outside its own dependencies is imported."""

import importlib.metadata
import re
import subprocess
import sys
import venv

import pytest

# extra -> what it must be able to import, and do.
PROMISES = {
    "": "import ssljax, ssljax.cli.main, ssljax.core.config, ssljax.sources.token_shards, "
        "ssljax.tokenizers.bpe, ssljax.runs.config, ssljax.runs.listing, ssljax.runs.plot",
    "curate": "import data_pipelines.run, data_pipelines.text, ssljax.cli.curate; "
              "assert 'jax' not in __import__('sys').modules",
    "train": "import ssljax.runs.pretrain, ssljax.runs.evaluate, ssljax.runs.export",
    "serve": "import ssljax.runs.serve, ssljax.runs.generate; "
             "assert 'flax' not in __import__('sys').modules",
}
BLOCKER = """
import importlib.abc, sys
ALLOWED = set({allowed!r})
class OnlyDeclared(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in set({installed!r}) - ALLOWED:
            raise ModuleNotFoundError(name + ' is not among the dependencies of this extra')
sys.meta_path.insert(0, OnlyDeclared())
{promise}
"""


def closure(extra: str) -> set[str]:
    """Return the distributions that ssljax[extra] installs, by their declared requirements."""
    seen, todo = set(), [("ssljax", {extra})]
    while todo:
        name, extras = todo.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in seen:
            continue
        seen.add(key)
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue                          # for another platform
        for line in requirements:
            parsed = requirement(line, extras)
            todo += [parsed] if parsed else []
    return seen


def requirement(line: str, extras: set[str]):
    """Return (name, extras) of a requirement that applies here, or None."""
    from packaging.requirements import Requirement

    parsed = Requirement(line)
    applies = parsed.marker is None or any(
        parsed.marker.evaluate({"extra": extra}) for extra in extras | {""})
    return (parsed.name, set(parsed.extras) | {""}) if applies else None


@pytest.mark.parametrize("extra", PROMISES, ids=lambda e: e or "base")
def test_an_extra_needs_nothing_it_does_not_declare(extra):
    modules = importlib.metadata.packages_distributions()
    wanted = closure(extra)
    normal = lambda name: re.sub(r"[-_.]+", "-", name).lower()  # noqa: E731
    allowed = sorted(m for m, owners in modules.items() if wanted & set(map(normal, owners)))
    code = BLOCKER.format(allowed=allowed, installed=sorted(modules), promise=PROMISES[extra])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("extra", PROMISES, ids=lambda e: e or "base")
def test_an_extra_installs_alone(extra, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    target = f".[{extra}]" if extra else "."
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt",
                    target], check=True, timeout=600)
    subprocess.run([python, "-c", PROMISES[extra]], check=True, cwd=tmp_path, timeout=120)


def test_help_is_fast_and_loads_nothing_heavy():
    code = ("import sys; from ssljax.cli.main import main; assert main(['--help']) == 0; "
            "heavy = {'jax', 'numpy', 'rich', 'ml_collections'} & set(sys.modules); "
            "assert not heavy, heavy")
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_every_verb_has_help_with_an_example():
    from ssljax.cli.main import VERBS

    for verb in VERBS:
        out = subprocess.run([sys.executable, "-m", "ssljax.cli.main", verb, "--help"],
                             capture_output=True, text=True, check=True).stdout
        assert f"ssljax {verb}" in out.partition("examples:")[2], verb


@pytest.mark.parametrize("verb, extra", [("config", "train"), ("serve", "serve")])
def test_a_missing_extra_is_named(verb, extra):
    arguments = [verb, "experiments/gpt/quickstart.py"]
    code = ("import sys\nfor name in ('jax', 'starlette'): sys.modules[name] = None\n"
            f"from ssljax.cli.main import main\nsys.exit(main({arguments!r}))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert f"pip install 'ssljax[{extra}]'" in done.stderr
