"""What a step's files hold is part of its key: where they change, it and what follows run again."""

import importlib
import inspect
import json
import pkgutil
import re

import pytest

from data_pipelines import steps
from data_pipelines.content import read_by
from data_pipelines.corpus import make_corpus
from data_pipelines.engine.engine import Engine
from data_pipelines.listing import list_files
from data_pipelines.recipe import read_recipe
from data_pipelines.run import curate

SAID = re.compile(r"^ {8}(\w+): (.*?)(?=^ {8}\w+: |^ {4}\w|\Z)", re.MULTILINE | re.DOTALL)


def run(recipe, engine):
    """Run a recipe's steps in a work folder; return the kept ids and the names of new stages."""
    before = set(engine.folder.iterdir())
    plan = read_recipe(recipe)
    blocks = make_corpus(plan, list_files(plan.input).files, engine, 1 << 20)
    kept = [i for t in engine.tables(blocks)
            for i, d in zip(t["id"].to_pylist(), t["dropped"].to_pylist(), strict=True) if not d]
    return kept, {f.name for f in set(engine.folder.iterdir()) - before}


@pytest.fixture
def engine(tmp_path):
    (tmp_path / "work").mkdir()
    return Engine(tmp_path / "work")


def test_a_changed_list_reruns_its_step_and_what_follows_and_nothing_else(recipe, tmp_path, prose,
                                                                          engine):
    words = tmp_path / "words.txt"
    words.write_text("zzzz\n")
    config = recipe(options={}, steps=(
        {"name": "read_files"}, {"name": "exact_duplicates"},
        {"name": "bad_words", "path": str(words)}, {"name": "split"}))
    first, made = run(config, engine)
    again, nothing = run(config, engine)
    assert first == again and not nothing and len(first) == 60
    words.write_text(prose(7).split()[3] + "\n")
    changed, new = run(config, engine)
    assert len(changed) < len(first)
    # Reading and exact duplicates (emitting, judging) stand; bad words and the split are new.
    assert 0 < len(new) < len(made) and len(made) - len(new) == 3
    words.write_text("zzzz\n")
    assert run(config, engine) == (first, set())


def test_a_dataset_of_other_evaluation_sets_is_made_again(recipe, tmp_path, prose):
    evals = tmp_path / "evals" / "set.jsonl"
    evals.parent.mkdir()
    evals.write_text(json.dumps({"question": "of nothing that stands in any of these texts at all, "
                                             "as far as anyone can tell"}))
    config = recipe(tokenizer="byte", options={}, steps=(
        {"name": "read_files"}, {"name": "decontaminate", "evals": (str(evals.parent),)},
        {"name": "split"}))
    first = curate(config)
    assert curate(config).version == first.version
    evals.write_text(json.dumps({"question": " ".join(prose(5).split()[10:40])}))
    second = curate(config, existing="replace")
    assert second.dropped == {"contaminated": 1} and not first.dropped
    assert second.recipe_hash != first.recipe_hash


def test_a_fitted_model_is_part_of_the_key_from_the_first_run_on(recipe, tmp_path, prose, engine):
    for name, seeds in (("good", range(5)), ("other", range(20, 25))):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(
            json.dumps({"text": prose(s)}) for s in seeds))
    model = tmp_path / "m" / "model.safetensors"
    config = recipe(options={}, steps=(
        {"name": "read_files"}, {"name": "quality_classifier", "model": str(model), "buckets": 64,
                                 "positives": str(tmp_path / "good.jsonl"),
                                 "negatives": str(tmp_path / "other.jsonl")}))
    run(config, engine)
    assert model.exists() and run(config, engine)[1] == set()
    (tmp_path / "good.jsonl").write_text(json.dumps({"text": prose(40)}))
    model.unlink()
    assert len(run(config, engine)[1]) == 1


def test_content_is_of_files_and_not_of_places(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "set.jsonl").write_text("same")
    found = [read_by({"name": "decontaminate", "evals": [str(tmp_path / n)]}) for n in "ab"]
    assert found[0] == found[1] and found[0]["evals"][0].keys() == {"set.jsonl"}
    (tmp_path / "b" / "set.jsonl").write_text("more")
    assert read_by({"name": "decontaminate", "evals": [str(tmp_path / "b")]}) != found[0]
    assert read_by({"name": "seen_before", "path": str(tmp_path / "none")}) == {"path": None}


def test_every_argument_that_is_said_to_be_a_file_is_declared():
    undeclared = []
    for module in pkgutil.iter_modules(steps.__path__):
        step = importlib.import_module(f"data_pipelines.steps.{module.name}")
        declared = {*getattr(step, "READS", ()), *getattr(step, "FITS", ()), "input"}
        takes = inspect.signature(step.make).parameters
        undeclared += [(module.name, name) for name, said in SAID.findall(step.make.__doc__ or "")
                       if re.search(r"\b(file|folder|path of|list of)\b", said) and name in takes
                       and takes[name].annotation is not int and name not in declared]
    assert undeclared == [("read_seqio", "module")]        # the name of one, or of a file
