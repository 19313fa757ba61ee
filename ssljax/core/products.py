"""Count the matrix products of a traced function, by the weight that each one multiplies.

Read from the jaxpr, so nothing is compiled and any method can be counted: loops count as often as
they run, grouped products (mixture of experts) by the rows that are really multiplied, and values
under stop_gradient (a teacher) have no backward pass. Only products are counted (dot_general,
ragged_dot, convolutions): norms, softmax and gates are a few per cent of a transformer and no
published utilisation counts them.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core as jex

from ssljax.core.tree import named_leaves

PRODUCTS = ("dot_general", "ragged_dot_general", "conv_general_dilated")
# Fused attention hides its products: cuDNN's in an operation, splash attention's in a kernel.
CUDNN, KERNEL = "dot_product_attention_fwd_wrapper", "pallas_call"
NOTHING: frozenset[str] = frozenset()


class Origin(NamedTuple):
    """What a value in a jaxpr is computed from.

    data:    whether the batch or a random key is among it
    active:  whether a gradient flows through it to a parameter
    weights: the names of the parameters among it
    """

    data: bool = False
    active: bool = False
    weights: frozenset[str] = NOTHING


class Use(NamedTuple):
    """What the products with one weight amount to.

    total:   operations, forward and backward
    forward: of the forward pass alone
    taken:   numbers that the forward products read beside the weight
    given:   numbers that they return
    largest: numbers that one of them returns at once
    """

    total: float = 0.0
    forward: float = 0.0
    taken: float = 0.0
    given: float = 0.0
    largest: float = 0.0


@dataclasses.dataclass
class Products:
    """Floating-point operations (a multiply-add is two) of one forward and backward pass.

    uses:    name of the parameter -> what its products amount to; "+"-joined names where several
        make up one operand
    mixing:  operations of products of two activations: attention scores and values, similarities
    tables:  parameters that rows are looked up in
    grouped: parameters that multiply only the rows routed to them (experts)
    """

    uses: dict[str, Use] = dataclasses.field(default_factory=dict)
    mixing: float = 0.0
    tables: set[str] = dataclasses.field(default_factory=set)
    grouped: set[str] = dataclasses.field(default_factory=set)

    @property
    def total(self) -> float:
        """Return all operations."""
        return sum(use.total for use in self.uses.values()) + self.mixing

    def add(self, eqn: Any, origins: Sequence[Origin], times: float) -> None:
        """Count one product: once forward, once backward for each operand that has a gradient."""
        forward = times * operations(eqn)
        both = forward * (1 + sum(o.active for o in origins[:2]))
        weights = [o for o in origins[:2] if not o.data]
        if not weights:
            self.mixing += both
            return
        names = frozenset().union(*(o.weights for o in weights))
        label = "+".join(sorted(names)) or "constants"
        sizes = [math.prod(v.aval.shape) for v in (*eqn.invars[:2], *eqn.outvars)]
        taken = sizes[0] if origins[0].data or not origins[1].data else sizes[1]
        old = self.uses.get(label, Use())
        self.uses[label] = Use(
            old.total + both, old.forward + forward, old.taken + times * taken,
            old.given + times * sizes[2], max(old.largest, sizes[2] if times else 0.0))
        if eqn.primitive.name.startswith("ragged"):
            self.grouped |= names


def count_products(loss: Callable[..., Any], params: Any, *others: Any, frozen: int = 1,
                   ) -> Products:
    """Return the products of loss(params, *others) and of its gradient by params.

    Args:
        loss: a pure function, traced without a mesh.
        params: arrays or ShapeDtypeStructs that the gradient is taken by.
        *others: the other arguments.
        frozen: how many of `others` come first and are weights without gradient (a teacher);
            the rest are data.
    """
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), ())):
        closed = jax.make_jaxpr(loss)(params, *others)
    origins = [Origin(active=True, weights=frozenset([name])) for name in named_leaves(params)]
    for place, other in enumerate(others):
        origins += [Origin(data=place >= frozen, weights=NOTHING if place >= frozen else
                           frozenset([f"frozen/{name}"])) for name in named_leaves(other)]
    found = Products()
    walk(closed.jaxpr, origins, 1.0, found)
    return found


def walk(jaxpr: Any, origins: Sequence[Origin], times: float, found: Products) -> list[Origin]:
    """Count a jaxpr that runs `times` times on values of these origins; return its results'."""
    known = dict(zip(jaxpr.invars, origins, strict=True))

    def origin(atom: Any) -> Origin:
        return Origin() if isinstance(atom, jex.Literal) else known.get(atom, Origin())

    for eqn in jaxpr.eqns:
        into = [origin(atom) for atom in eqn.invars]
        if eqn.primitive.name in PRODUCTS:
            found.add(eqn, into, times)
        if eqn.primitive.name in (CUDNN, KERNEL):
            found.mixing += times * attention_operations(eqn) * (3 if merge(into).active else 1)
        if eqn.primitive.name == "gather" and not into[0].data:
            found.tables |= into[0].weights
        out = inner(eqn, into, times, found)
        if out is None:
            merged = merge(into)
            out = [Origin(merged.data, merged.active and has_gradient(eqn, var), merged.weights)
                   for var in eqn.outvars]
        known |= zip(eqn.outvars, out, strict=True)
    return [origin(atom) for atom in jaxpr.outvars]


def inner(eqn: Any, into: Sequence[Origin], times: float, found: Products,
          ) -> list[Origin] | None:
    """Walk the jaxprs that an operation carries out; None where it has none."""
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        return loop(params["jaxpr"], into, params["num_consts"], params["num_carry"],
                    times * params["length"], found)
    if name == "while":                    # its trip count is unknown: counted once
        consts = params["cond_nconsts"]
        return loop(params["body_jaxpr"], into[consts:], params["body_nconsts"],
                    len(eqn.outvars), times, found)
    if name == "cond":                     # exactly one branch runs: the costliest is counted
        trials = [(Products(), branch) for branch in params["branches"]]
        outs = [walk(opened(b), into[1:], times, trial) for trial, b in trials]
        costliest = max(trials, key=lambda trial: trial[0].total)
        walk(opened(costliest[1]), into[1:], times, found)
        return [merge(alternatives) for alternatives in zip(*outs, strict=True)]
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        carried = None if name == KERNEL else params.get(key)
        if carried is not None and len(opened(carried).invars) == len(into):
            return walk(opened(carried), into, times, found)
    return None


def loop(body: Any, into: Sequence[Origin], consts: int, carry: int, times: float,
         found: Products) -> list[Origin]:
    """Walk a loop's body; what a carry is made of grows until it stays the same."""
    fixed, carried, slices = into[:consts], list(into[consts:consts + carry]), into[consts + carry:]
    while True:
        out = walk(opened(body), [*fixed, *carried, *slices], 0.0, Products())
        grown = [merge(pair) for pair in zip(carried, out[:carry], strict=True)]
        if grown == carried:
            return walk(opened(body), [*fixed, *carried, *slices], times, found)
        carried = grown


def opened(jaxpr: Any) -> Any:
    """Return the Jaxpr of a closed or an open one; constants are nobody's weights."""
    return jaxpr.jaxpr if hasattr(jaxpr, "consts") else jaxpr


def merge(origins: Sequence[Origin]) -> Origin:
    """Return the origin of a value computed from values of these origins."""
    return Origin(any(o.data for o in origins), any(o.active for o in origins),
                  frozenset().union(*(o.weights for o in origins)))


def has_gradient(eqn: Any, var: Any) -> bool:
    """Say whether a gradient flows from a result of an operation to its arguments."""
    return (eqn.primitive.name != "stop_gradient"
            and bool(jnp.issubdtype(var.aval.dtype, jnp.inexact)))


def operations(eqn: Any) -> float:
    """Return the floating-point operations of one product, two for a multiply-add.

    A grouped product multiplies each row with the one matrix it is routed to, so it costs what a
    product with a single matrix would.
    """
    left, right = (atom.aval.shape for atom in eqn.invars[:2])
    out = math.prod(eqn.outvars[0].aval.shape)
    if eqn.primitive.name == "conv_general_dilated":
        filters = eqn.params["dimension_numbers"].rhs_spec[0]       # output channels
        return 2.0 * out * math.prod(right) / right[filters]
    numbers = eqn.params.get("ragged_dot_dimension_numbers")
    (contracted, _), _ = numbers.dot_dimension_numbers if numbers else \
        eqn.params["dimension_numbers"]
    return 2.0 * out * math.prod(left[i] for i in contracted)


def attention_operations(eqn: Any) -> float:
    """Return the operations of a fused attention, forward, of all keys by all queries.

    Its first three floating operands of three or more dimensions are queries, keys and values; a
    kernel with fewer is no attention, and counts nothing.
    """
    shapes = [atom.aval.shape for atom in eqn.invars
              if len(atom.aval.shape) > 2 and jnp.issubdtype(atom.aval.dtype, jnp.inexact)]
    if len(shapes) < 3:
        return 0.0
    q, k, v = shapes[:3]
    # cuDNN's layout 0 is [B, L, H, K]; all others have [..., L, K] last.
    keys = k[-3] if eqn.primitive.name == CUDNN and eqn.params["layout"] == 0 else k[-2]
    return 2.0 * math.prod(q[:-1]) * keys * (q[-1] + v[-1])
