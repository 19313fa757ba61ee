"""What a config's parameters are, from shapes alone."""

from collections.abc import Mapping
from typing import Any

import jax
from clu.parameter_overview import get_parameter_overview

from ssljax.core.tree import count
from ssljax.runs.build import build_method


def parameter_overview(config: Mapping[str, Any]) -> str:
    """Return a table of every parameter's shape and size; allocates nothing.

    Args:
        config: a plain, checked config.
    """
    method = build_method(config)
    shapes = jax.eval_shape(method.init, method.key)
    table = get_parameter_overview(shapes.params, include_stats=False)
    others = count((shapes.opt_state, shapes.extra))
    return f"{table}\nOptimizer and method state: {others:,} numbers."
