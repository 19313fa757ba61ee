"""Numbers as people read them."""

import math

import pytest

from ssljax.core.wording import count, digits, duration, share, size
from ssljax.runs.compare import against, verdict


def spaced(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(("x", "text"), [
    (0, "0"), (950, "950"), (12_340, "12,340"), (99_999, "99,999"), (123_456, "123 k"),
    (999_960, "1.00 M"), (1.24e6, "1.24 M"), (3.1e9, "3.10 G"), (None, "–"), (math.nan, "–")])
def test_counts(x, text):
    assert spaced(count(x)) == text


@pytest.mark.parametrize(("x", "text"), [
    (0, "0 B"), (512, "512 B"), (34_000, "34.0 kB"), (3.4e6, "3.40 MB"), (2e12, "2.00 TB"),
    (None, "–")])
def test_sizes(x, text):
    assert spaced(size(x)) == text


@pytest.mark.parametrize(("x", "text"), [
    (0.4212, "0.421 s"), (9.999, "10.0 s"), (12.34, "12.3 s"), (59.96, "1 min 00 s"),
    (125, "2 min 05 s"), (3599.7, "1 h 00 min"), (11_220, "3 h 07 min"), (None, "–")])
def test_durations(x, text):
    assert spaced(duration(x)) == text


@pytest.mark.parametrize(("x", "text"), [
    (9.996, "10.0"), (0.0995, "0.0995"), (123_456, "123,456"), (0, "0"), (-1.5, "-1.50")])
def test_digits(x, text):
    assert digits(x) == text


def test_shares():
    assert spaced(share(1, 3)) == "33.3 %"
    assert spaced(share(1, 100_000)) == "< 0.1 %"
    assert share(0, 0) == "–"


def test_a_verdict_has_a_sign_a_size_and_a_share():
    assert against(1.5, 2.0) == {"bits_per_byte": 0.5, "percent": 25.0}
    assert verdict("xz -9", against(1.5, 2.0)) == "beats xz -9 by 0.500 bits per byte (25.0 %)"
    assert verdict("it", against(2.2, 2.0)) == "misses it by 0.200 bits per byte (10.0 %)"
