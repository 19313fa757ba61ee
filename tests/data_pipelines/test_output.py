"""The output folder: never half a dataset, never over something else, one writer at a time."""

import os
import signal
import subprocess
import sys

import pytest

from data_pipelines.output import check_output, claim, publish, sibling
from ssljax.core.errors import DataError
from ssljax.sources.manifest import Manifest, write_manifest


def dataset(folder, name="old", recipe="r", listing="l"):
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, Manifest(
        name=name, version="v", parents=({"listing": listing},), licences={}, recipe={},
        recipe_hash=recipe, tokenizer_hash="", vocab_size=0, splits={}, shards=(), files=(), read=0,
        kept=0, dropped={}))


def test_room_for_a_new_dataset(tmp_path):
    assert check_output(tmp_path / "new", "r", "l", "keep") is None
    (tmp_path / "empty").mkdir()
    assert check_output(tmp_path / "empty", "r", "l", "keep") is None


def test_the_same_dataset_is_found(tmp_path):
    dataset(tmp_path)
    assert check_output(tmp_path, "r", "l", "keep").name == "old"
    assert check_output(tmp_path, "r", "l", "replace") is None


@pytest.mark.parametrize("recipe, listing, says", [("x", "l", "another recipe"),
                                                   ("r", "x", "the input has changed since")])
def test_another_dataset_is_kept_unless_told(tmp_path, recipe, listing, says):
    dataset(tmp_path)
    with pytest.raises(DataError, match=f"{says}.*nothing was touched.*--overwrite"):
        check_output(tmp_path, recipe, listing, "keep")
    assert check_output(tmp_path, recipe, listing, "replace") is None


@pytest.mark.parametrize("existing", ["keep", "replace"])
def test_a_folder_that_is_no_dataset_is_never_replaced(tmp_path, existing):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="no dataset .no manifest.json.; nothing was touched"):
        check_output(tmp_path, "r", "l", existing)


def test_a_file_in_the_place_of_the_output_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file is a file"):
        check_output(tmp_path / "file", "r", "l", "replace")


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"), claim(tmp_path / "file" / "out"):
        pass


def test_what_is_published_is_there_and_nothing_else(tmp_path):
    dataset(tmp_path / "out")
    with claim(tmp_path / "out") as partial:
        dataset(partial, "new")
        publish(partial, tmp_path / "out")
    assert check_output(tmp_path / "out", "r", "l", "keep").name == "new"
    assert os.listdir(tmp_path) == ["out"]


def test_a_failure_leaves_what_was_there(tmp_path):
    dataset(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt), claim(tmp_path / "out") as partial:
        (partial / "train").mkdir()
        raise KeyboardInterrupt
    assert check_output(tmp_path / "out", "r", "l", "keep").name == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_full_disk_is_one_message_and_leaves_what_was_there(tmp_path):
    dataset(tmp_path / "out")
    with pytest.raises(DataError, match="out cannot be written: .*No space left.*unchanged"), \
            claim(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert check_output(tmp_path / "out", "r", "l", "keep").name == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_what_is_no_fault_of_the_disk_stays_what_it_is(tmp_path):
    with pytest.raises(BrokenPipeError), claim(tmp_path / "out"):
        raise BrokenPipeError(32, "Broken pipe")
    assert os.listdir(tmp_path) == []


def test_only_one_process_works_on_an_output(tmp_path):
    with claim(tmp_path / "out") as partial:
        (partial / "mine").write_text("")
        with pytest.raises(DataError, match="Another `ssljax curate` is at work"), \
                claim(tmp_path / "out"):
            pass
        assert (partial / "mine").exists()
    with claim(tmp_path / "out"):
        pass


def test_the_leavings_of_a_killed_run_are_cleared(tmp_path):
    code = ("import sys, time, pathlib; from data_pipelines.output import claim\n"
            "with claim(pathlib.Path(sys.argv[1])) as p:\n"
            "    (p / 'half').mkdir(); (p / 'half' / 'a').write_text('x')\n"
            "    print('ready', flush=True); time.sleep(60)")
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")],
                             stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"ready\n"
    with pytest.raises(DataError, match="Another"), claim(tmp_path / "out"):
        pass
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not (tmp_path / "out").exists()
    with claim(tmp_path / "out") as partial:
        assert not list(partial.iterdir())


def test_a_run_killed_between_the_two_renames_is_put_right(tmp_path):
    dataset(sibling(tmp_path / "out", "replaced"))
    with claim(tmp_path / "out"):
        assert check_output(tmp_path / "out", "r", "l", "keep").name == "old"
    assert os.listdir(tmp_path) == ["out"]
