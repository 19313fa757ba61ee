"""Images that were drawn are the same on any mesh."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from ssljax.core import sharding
from ssljax.evals.generated import drawer
from ssljax.train.state import init_state
from tests.contracts.cases import case


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [("image_gpt", {"temperature": 0.7}),
                                               ("flow_matching", {"steps": 3})])
def test_a_mesh_draws_what_one_device_draws(name, options):
    method, _ = case(name)

    def drawn(kind: AxisType | None) -> np.ndarray:
        mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2}, kind) if kind else None
        with sharding.use_mesh(mesh):
            state = init_state(method.init, method.key, mesh, method.layout)
        if name == "flow_matching":            # its network starts at a velocity of zero
            state = state._replace(params=jax.tree.map(lambda w: w + 0.02, state.params))
        draw = drawer(method.objective, method.pretext, options, batch_size=8)
        return np.concatenate(list(draw(state.params, state.extra, 0, 8))).astype(int)

    alone = drawn(None)
    for kind in (AxisType.Auto, AxisType.Explicit):
        assert np.abs(drawn(kind) - alone).max() <= 1, kind
