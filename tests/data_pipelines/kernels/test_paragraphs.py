"""Paragraphs are found, compared and cut."""

import numpy as np

from data_pipelines.kernels.paragraphs import cut, find_paragraphs, later

TEXT = "One long line of text.\n\nshort\n  Another LONG line, of 12 texts!  \n"


def test_spans_are_paragraphs_with_the_line_feeds_after_them():
    found = find_paragraphs(TEXT, 4)
    assert [TEXT[a:b] for a, b in found.spans.tolist()] == [
        "One long line of text.\n\n", "  Another LONG line, of 12 texts!  \n"]
    assert cut(TEXT, found.spans) == "short"
    assert cut(TEXT, found.spans[:1]) == "short\n  Another LONG line, of 12 texts!  "
    assert find_paragraphs("\n \n", 1).spans.shape == (0, 2)


def test_case_digits_punctuation_and_spacing_do_not_matter():
    one = find_paragraphs("Call 12 34, today!", 1).keys
    assert one == find_paragraphs("  call 98   76 TODAY", 1).keys
    assert one != find_paragraphs("call 98 765 today", 1).keys


def test_the_best_document_and_the_first_place_keep_theirs():
    keys = np.array([5, 5, 5, 6, 6], np.uint64)
    assert later(keys, np.array([2, 1, 1, 0, 3]), np.array([0, 9, 3, 0, 0])).tolist() == [
        True, True, False, False, True]


def test_partitions_by_key_give_the_rows_of_the_whole():
    draw = np.random.default_rng(0)
    keys, documents, places = draw.integers(0, 60, (3, 300))
    keys = keys.astype(np.uint64)
    whole = later(keys, documents, places)
    parts = np.zeros(300, bool)
    for p in range(3):
        parts[keys % 3 == p] = later(keys[keys % 3 == p], documents[keys % 3 == p],
                                     places[keys % 3 == p])
    assert (~whole).sum() == len(set(keys.tolist())) == (~parts).sum()
