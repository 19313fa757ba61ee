"""Which files are read: kinds, folders passed over, and what to say when there are none."""

import os

import pytest

from data_pipelines.listing import list_files, standard_library, suffix
from ssljax.core.errors import DataError


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def sources(folder, **kwargs):
    return list_files(str(folder), **kwargs).files["source"].to_pylist()


def test_known_kinds_are_taken_in_order_and_others_counted(tmp_path):
    taken = ["a.md", "b.TXT", "c/d.rst.gz", "c/e.py", "f.html", "g.jsonl.gz", "z.tar.gz"]
    fill(tmp_path, *reversed(taken), "x.docx", "y.docx", "Makefile", "z.tar.xz")
    listing = list_files(str(tmp_path))
    assert listing.files["source"].to_pylist() == taken
    assert listing.ignored == {".docx": 2, ".xz": 1, "no suffix": 1}
    assert listing.bytes == sum(map(len, taken))


def test_hidden_and_installed_folders_are_passed_over(tmp_path):
    fill(tmp_path, "a.py", ".git/b.py", "lib/site-packages/c.py", "d/__pycache__/e.py", "f/.x/g.py")
    assert sources(tmp_path) == ["a.py"]


def test_the_output_inside_the_input_is_left_out(tmp_path):
    fill(tmp_path, "a.txt", "out/documents.jsonl.gz")
    assert sources(tmp_path, without=[str(tmp_path / "out")]) == ["a.txt"]


def test_the_hash_follows_path_size_and_time(tmp_path):
    fill(tmp_path, "a.txt", "b.txt")
    first = list_files(str(tmp_path)).hash
    assert list_files(str(tmp_path)).hash == first
    os.utime(tmp_path / "a.txt", ns=(1, 1))
    assert list_files(str(tmp_path)).hash != first


def test_a_broken_link_and_a_name_that_is_not_utf8_are_listed_as_unreadable(tmp_path):
    fill(tmp_path, "a.txt")
    (tmp_path / "broken.txt").symlink_to("nowhere")
    with open(os.fsencode(tmp_path) + b"/\xff.txt", "w"):
        pass
    rows = {r["source"]: r["size"] for r in list_files(str(tmp_path)).files.to_pylist()}
    assert rows["broken.txt"] == -1
    assert "\\udcff.txt" in rows


@pytest.mark.parametrize("names, says", [
    ([], "nothing to read: found no files"),
    (["x.docx"], "found 1 .docx; expected a folder of .txt")])
def test_a_folder_with_nothing_to_read_says_what_it_has(tmp_path, names, says):
    fill(tmp_path, *names)
    with pytest.raises(DataError, match=says):
        list_files(str(tmp_path))


def test_a_missing_folder_and_a_file_are_named(tmp_path):
    fill(tmp_path, "a.txt")
    with pytest.raises(DataError, match="nowhere cannot be read: No such file"):
        list_files(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="a.txt cannot be read: Not a directory"):
        list_files(str(tmp_path / "a.txt"))


def test_the_default_input_is_real_and_present():
    listing = list_files(standard_library())
    assert listing.files.num_rows > 500
    assert not any("site-packages" in s for s in listing.files["source"].to_pylist())


def test_the_suffix_looks_through_gz(tmp_path):
    assert suffix(tmp_path / "a.JSONL.GZ") == ".jsonl"
    assert suffix(tmp_path / "a.gz") == ""
    assert suffix(tmp_path / "a.warc.lz4") == ".warc"
    assert suffix(tmp_path / "a.txt.lz4") == ".lz4"


def test_a_url_is_listed_by_size_and_time_as_a_folder_is():
    import fsspec
    files = fsspec.filesystem("memory")
    files.pipe({"/listed/b/c.txt": b"five5", "/listed/a.jsonl": b"{}", "/listed/x.docx": b""})
    listing = list_files("memory://listed")
    assert listing.files["source"].to_pylist() == ["a.jsonl", "b/c.txt"]
    assert listing.files["size"].to_pylist() == [2, 5] and listing.ignored == {".docx": 1}
    before = listing.hash
    files.pipe("/listed/a.jsonl", b"[]")
    assert list_files("memory://listed").hash != before
    with pytest.raises(DataError, match="nothing to read"):
        list_files("memory://nowhere")
