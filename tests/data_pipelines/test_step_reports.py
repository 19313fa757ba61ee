"""What steps measure of themselves goes with the version, however the work was cut."""

import json
import shutil

import pytest

from data_pipelines.run import Sizes, curate
from data_pipelines.snapshots.catalog import load_table, open_catalog
from data_pipelines.snapshots.versions import find_version, reports_of
from ssljax.cli.main import main


@pytest.fixture
def decontaminated(recipe, corpus, tmp_path, prose):
    evals = tmp_path / "evals"
    evals.mkdir()
    for name, words, seed in (("quiz", 25, 500), ("brief", 5, 600)):
        (evals / f"{name}.jsonl").write_text("".join(
            json.dumps({"question": prose(seed + i, words)}) + "\n" for i in range(20)))
    corpus[1]("leak.txt", prose(90) + prose(503, 25) + prose(91))
    return recipe(steps=[{"name": "read_files"}, {"name": "decontaminate", "evals": [str(evals)]},
                         {"name": "split"}], options={}, tokenizer="byte")


def read_reports(folder):
    catalog = open_catalog(folder / "catalog")
    try:
        return reports_of(find_version(load_table(catalog, "text")))
    finally:
        catalog.close()


def test_planted_recall_is_stored_with_the_version_and_shown(decontaminated, tmp_path, capsys):
    curate(decontaminated)
    [report] = read_reports(tmp_path)
    assert report["step"] == "decontaminate" and report["planted"] == report["short"] == 20
    assert set(report["recall"]) == {"verbatim", "recased", "respaced", "edited"}
    assert report["recall"]["verbatim"] == {"all": 1.0, "quiz": 1.0}
    assert main(["data", "show", "text", "--catalog", str(tmp_path / "catalog")]) == 0
    told = capsys.readouterr().out
    assert "1  decontaminate        contaminated" in told
    assert "of 20 planted items it finds verbatim 100.0%" in told

    shutil.rmtree(tmp_path / "catalog")
    curate(decontaminated | {"output": str(tmp_path / "again")}, workers=2,
           sizes=Sizes(9000, 12000, 6000))
    assert read_reports(tmp_path) == [report]


def test_a_recipe_without_such_steps_has_no_reports(recipe, tmp_path):
    curate(recipe())
    assert read_reports(tmp_path) == []
