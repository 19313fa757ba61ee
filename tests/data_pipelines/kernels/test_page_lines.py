"""Features of lines against loops, and what the model makes of plain cases."""

import numpy as np
import pytest

from data_pipelines.kernels.marked_lines import Line
from data_pipelines.kernels.page_lines import (
    FAR,
    LABELS,
    WEIGHTS,
    around,
    article_probability,
    distances,
    features,
    line_columns,
    mark_columns,
)

SENTENCE = "The committee met on Monday and agreed, after a long debate, to repair the old bridge. "


def test_distances_to_prose_are_those_of_a_loop():
    prose = np.random.default_rng(0).random(60) < 0.2
    at = np.flatnonzero(prose)
    back, ahead = distances(prose)
    for i in range(60):
        assert back[i] == min([i - j for j in at if j < i] + [FAR])
        assert ahead[i] == min([j - i for j in at if j > i] + [FAR])


@pytest.mark.parametrize("size, reach", [(0, 2), (1, 3), (4, 3), (40, 2)])
def test_sums_around_a_line_are_those_of_slices(size, reach):
    values = np.random.default_rng(size).random((size, 2))
    sums = around(values, reach)
    assert sums.shape == values.shape
    for i in range(size):
        np.testing.assert_allclose(sums[i], values[max(0, i - reach):i + reach + 1].sum(0))


def test_columns_of_a_line():
    width, ends, bullet, label, indent, capitals = line_columns(
        ["A Title Here", "ends so.", "• item", "  Read more", "日本語", "By Jane", "reposting"])
    assert width.tolist() == [12, 8, 7, 9, 6, 7, 9]           # three bytes count as two
    assert ends.tolist() == [0, 1, 0, 0, 0, 0, 0]
    assert bullet.tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert label.tolist() == [0, 0, 0, 1, 0, 1, 0]
    assert indent.tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert capitals.tolist() == [1, 0, 0, 0.5, 0, 1, 0]


def test_columns_of_marks_are_shares_of_the_neighbourhood():
    lines = [Line("abcd", paragraph=True, linked=4), Line("abcdef"),
             Line("ab", item=True, linked=1)]
    found = np.stack(mark_columns(lines, np.array([0.5, 0.25, 0])), axis=1)
    assert found[:, 3].tolist() == [1, 0, 0.5]                # linked characters of the line
    assert found[:, 4].tolist() == [1, 0, 0]                  # links and little else
    np.testing.assert_allclose(found[:, 5], 5 / 12)           # of five lines around: all three
    np.testing.assert_allclose(found[:, 6], 1 / 3)
    assert found[:, 7].tolist() == [0.5, 0, 0]                # half of the prose is marked so


@pytest.mark.parametrize("text, found", [
    ("read more", True), ("© 2020", True), (" - by jane", True), ("tag: x", True),
    ("the sharecropper", True), ("unshared", False), ("a bystander", False)])
def test_labels_are_words_of_buttons_and_teasers(text, found):
    assert (LABELS.search(text) is not None) == found


def test_prose_is_likelier_than_labels_and_there_is_a_weight_a_feature():
    lines = [Line("Share this", linked=10), Line(SENTENCE * 2, paragraph=True),
             Line(SENTENCE * 3, paragraph=True), Line("Read more", linked=9),
             Line("Copyright 2019")]
    chances = article_probability(lines)
    assert min(chances[1:3]) > 0.5 > max(chances[[0, 3, 4]])
    assert features(lines).shape == (5, len(WEIGHTS) - 1)
    assert len(article_probability([])) == 0


def test_a_line_of_links_is_no_article_where_the_same_text_is():
    plain = [Line(SENTENCE * 2, paragraph=True) for _ in range(6)]
    linked = [*plain[:5], plain[5]._replace(paragraph=False, linked=len(SENTENCE * 2))]
    assert article_probability(linked)[5] < article_probability(plain)[5] - 0.3
