"""Layouts: plug-ins outside the repository bring their own, collisions are refused."""

import sys
import types

import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.models import gpt
from ssljax.runs.build import build_method
from ssljax.train.layout import partition
from ssljax.train.state import abstract_state
from tests.contracts.cases import config_of


def plugin(monkeypatch, axes):
    """Put a model file outside ssljax on the Python path: GPT with one weight of its own."""
    def make(*, width: int = 8):
        inner = gpt.make(**gpt.TINY)

        def init(key, inputs):
            params, stats = inner.init(key, inputs)
            return {**params, "w_own": jnp.zeros((width, 4))}, stats

        return inner._replace(init=init)

    module = types.ModuleType("mylab_model")
    module.make, module.PARTITION = make, {"w_own": axes}
    package = types.ModuleType("mylab")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "mylab", package)
    monkeypatch.setitem(sys.modules, "mylab.model", module)


def test_a_plugin_outside_the_repository_brings_its_layout(monkeypatch):
    plugin(monkeypatch, ("fsdp", None))
    config = config_of("next_token") | {"model": {"name": "mylab.model"}}
    method, mesh = build_method(config), sharding.make_mesh({"fsdp": 8})
    state = abstract_state(method.init, method.key, mesh, method.layout)
    assert state.params["w_own"].sharding.spec == PartitionSpec("fsdp", None)
    with pytest.raises(ConfigError, match="No layout for weight.*w_own"):
        abstract_state(method.init, method.key, mesh)


def test_a_plugin_that_lays_a_known_weight_out_otherwise_is_refused(monkeypatch):
    plugin(monkeypatch, ("fsdp", None))
    sys.modules["mylab.model"].PARTITION["w_up"] = (None, None)
    with pytest.raises(ConfigError, match='mylab.model lays weight "w_up" out'):
        partition(["mylab.model"])
