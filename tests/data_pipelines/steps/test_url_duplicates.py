"""One page has one address, however it is spelt."""

import pyarrow as pa
import pytest

from data_pipelines.steps.url_duplicates import address, make
from data_pipelines.table import add_column
from ssljax.core.errors import ConfigError


@pytest.mark.parametrize("url", ["http://Example.org/a/", "https://www.example.org/a",
                                 "example.org/a?utm_source=x&y=1", " https://example.org/a#part "])
def test_spellings_of_one_page(url):
    assert address(url) == "example.org/a"


def test_what_makes_another_page_stays():
    assert address("http://a.org/A") != address("http://a.org/a")
    assert address("http://a.org/x?page=2") == "a.org/x?page=2"
    assert address(None) is None and address("") is None and address("https://") is None


def test_the_best_of_a_page_survives(table, prose):
    before = table([prose(1, 50), prose(2, 90), prose(3, 70), prose(4), prose(5)])
    before = add_column(before, "url", pa.array(
        ["http://a.org/1", "https://www.a.org/1/", "http://a.org/2", None, None]))
    rows = make()(before).to_pylist()
    assert make()(before, partitions=4).to_pylist() == rows
    assert [r["dropped"] for r in rows] == ["url_duplicate", None, None, None, None]
    assert rows[0]["detail"] == rows[1]["id"] == rows[0]["cluster"]
    scored = before.append_column("score", pa.array([2.0, 1, 1, 1, 1]))
    assert make(quality="score")(scored)["dropped"].to_pylist()[:2] == [None, "url_duplicate"]


def test_a_table_without_addresses_is_named(table):
    assert make()(table(["x", "y"]))["dropped"].null_count == 2
    with pytest.raises(ConfigError, match='"address"'):
        make(url="address")(table(["x"]))
