"""A queue keeps the newest rows, in turn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.families.queue import init_queue, push


def test_the_oldest_rows_make_room():
    queue = init_queue(jax.random.key(0), 6, 3, 2)
    start = np.asarray(queue["queue"])
    np.testing.assert_allclose(np.linalg.norm(start, axis=1), 1, rtol=1e-5)
    batches = [jnp.full((2, 3), float(t)) for t in range(1, 5)]
    filled = []
    for rows in batches:
        queue = push(queue, rows)
        filled.append(int(queue["filled"]))
    assert filled == [2, 4, 6, 6]
    np.testing.assert_array_equal(queue["queue"][:, 0], [4, 4, 2, 2, 3, 3])
    assert int(queue["next"]) == 2


def test_a_queue_that_is_no_multiple_of_the_batch_is_refused():
    with pytest.raises(ConfigError, match="use 8"):
        init_queue(jax.random.key(0), 10, 3, 4)
