"""The text tower: what stands for a text, and what cannot change it."""

import jax
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.models import text_encoder

END = 256
TEXT = np.array([[5, 9, 7, END, END, END], [1, 2, 3, 4, 5, 6]], np.int32)


@pytest.mark.parametrize("causal", [True, False])
def test_pooled_is_the_output_at_the_first_end_and_padding_does_not_matter(causal):
    model = text_encoder.make(**text_encoder.TINY, causal=causal)
    params, _ = model.init(jax.random.key(0), {"tokens": TEXT})
    outputs = model.apply(params, {"tokens": TEXT})
    np.testing.assert_array_equal(outputs["pooled"][0], outputs["sequence"][0, 3])
    np.testing.assert_array_equal(outputs["pooled"][1], outputs["sequence"][1, 5])    # cut
    short = model.apply(params, {"tokens": TEXT[:, :4]})["pooled"][0]
    np.testing.assert_allclose(outputs["pooled"][0], short, atol=1e-5)
    garbage = TEXT.copy()
    garbage[0, 4:] = 99
    again = model.apply(params, {"tokens": garbage})["pooled"]
    np.testing.assert_allclose(again, outputs["pooled"], atol=1e-5)
    other = TEXT.copy()
    other[0, 1] = 8
    assert np.abs(model.apply(params, {"tokens": other})["pooled"][0] - short).max() > 1e-3


def test_an_end_outside_the_table_and_odd_heads_are_refused():
    with pytest.raises(ConfigError, match="end_of_text 300"):
        text_encoder.make(**{**text_encoder.TINY, "end_of_text": 300})
    with pytest.raises(ConfigError, match="even whole number"):
        text_encoder.make(**{**text_encoder.TINY, "num_heads": 16})
