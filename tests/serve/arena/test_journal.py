"""Records that were acknowledged are there, whatever byte the file ends at."""

import stat
import threading

import pytest

from ssljax.core.errors import ServeError
from ssljax.serve.arena.journal import open_journal


def test_records_come_back_in_order_and_only_the_owner_reads_them(tmp_path):
    journal = open_journal(tmp_path / "new" / "votes.jsonl")
    for n in range(3):
        journal.append({"n": n, "text": "Grüße\n<b>\u2028"})
    journal.close()
    again = open_journal(journal.path)
    assert [r["n"] for r in again.read()] == [0, 1, 2]
    assert again.read()[0]["text"] == "Grüße\n<b>\u2028"
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    again.close()


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_line_cut_by_a_crash_costs_itself_only(tmp_path, cut):
    path = tmp_path / "votes.jsonl"
    path.write_bytes(b'{"n": 0}\n' + b'{"n": 1}\n'[:cut])
    journal = open_journal(path)
    journal.append({"n": 2})
    assert [r["n"] for r in journal.read()] == ([0, 2] if cut < 8 else [0, 1, 2])
    journal.close()


def test_threads_do_not_mix_their_lines(tmp_path):
    journal = open_journal(tmp_path / "votes.jsonl")
    threads = [threading.Thread(target=lambda n=n: [
        journal.append({"n": n, "text": "x" * 3000}) for _ in range(5)]) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r["n"] for r in journal.read()) == sorted([*range(6)] * 5)
    journal.close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ServeError, match="votes.jsonl cannot be written"):
        open_journal(tmp_path / "file" / "votes.jsonl")
