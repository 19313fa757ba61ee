"""What a step computes, and what fraction of the hardware's peak a run reaches (MFU).

The formula of model FLOPs, stated once. Per position of a transformer, forward and backward,

    6 N_blocks  +  6 V D  +  12 L D depth (causal: half)

N_blocks are the parameters of products in blocks (experts: those a token is routed to), 6 V D the
projection onto the vocabulary, and the last term attention's scores and values over L keys. Kaplan
et al. 2020, https://arxiv.org/abs/2001.08361, section 2.1; MFU as in PaLM,
https://arxiv.org/abs/2204.02311, appendix B, but causal attention counts half, as it should cost.
Looking a row up in a table costs nothing, and rematerialisation is not work of the model.

`step_flops` counts the same from the jaxpr of the objective, so that it holds for any method: a
masked autoencoder's encoder counts the patches it encodes, a teacher its forward pass alone, a
first layer no gradient by its input. `transformer_flops` is the formula itself.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax

from ssljax.core.products import Products, count_products
from ssljax.core.tree import named_leaves
from ssljax.core.types import Key, Objective, PyTree
from ssljax.train.state import blank_batch, with_views

# Beside tables that are looked up as well (tied), the names of projections onto a vocabulary.
HEADS = ("w_head", "w_vocab", "unembedding", "lm_head")


@dataclasses.dataclass(frozen=True)
class Flops:
    """Floating-point operations of one step over the global batch, forward and backward.

    blocks:        products with weights, all but the head's
    head:          products with a vocabulary table
    attention:     products of activations, already halved where causal
    causal:        whether they were
    params:        parameters that are trained
    non_embedding: of these, those in no vocabulary table
    active:        parameters that a token meets: experts count as often as they are chosen
    """

    blocks: float
    head: float
    attention: float
    causal: bool
    params: int
    non_embedding: int
    active: int

    @property
    def total(self) -> float:
        """Return all operations of a step."""
        return self.blocks + self.head + self.attention


def step_flops(objective: Objective, views: Callable, spec: Mapping[str, tuple], batch_size: int,
               *, key: Key, causal: bool) -> Flops:
    """Return what one step of a method computes; traces, compiles nothing.

    Args:
        objective: the method.
        views: the pretext's device part.
        spec: the pretext's arrays, name -> (shape, dtype).
        batch_size: rows of the global batch.
        key: any key.
        causal: whether a position attends to the ones before it only.
    """
    products, params = step_products(objective, views, spec, batch_size, key=key)
    rows = batch_size * (spec["tokens"][0][0] if "tokens" in spec else 1)
    return summarise(products, {n: x.size for n, x in named_leaves(params).items()}, rows,
                     causal=causal)


def step_products(objective: Objective, views: Callable, spec: Mapping[str, tuple],
                  batch_size: int, *, key: Key) -> tuple[Products, PyTree]:
    """Return the products of one step and the shapes of the parameters; see `step_flops`."""
    def start(key: Key) -> tuple:
        batch = with_views(views, key, blank_batch(spec, batch_size))
        return *objective.init(key, batch), batch

    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), ())):
        params, extra, batch = jax.eval_shape(start, key)
    products = count_products(lambda *args: objective.loss(*args)[0], params, extra, batch, key)
    return products, params


def is_head(label: str, products: Products) -> bool:
    """Say whether a weight projects onto a vocabulary: a table that is looked up as well, or one
    by name.
    """
    return any(name in products.tables or name.rpartition("/")[2] in HEADS
               for name in label.split("+"))


def summarise(products: Products, sizes: Mapping[str, int], rows: int, *, causal: bool) -> Flops:
    """Group counted products; `sizes` are the parameters by name, `rows` positions or examples."""
    head = sum(use.total for label, use in products.uses.items() if is_head(label, products))
    idle = sum(max(0.0, sizes[name] - products.uses[name].forward / (2 * rows))
               for name in products.grouped if name in products.uses and name in sizes)
    return Flops(
        blocks=products.total - products.mixing - head, head=head,
        attention=products.mixing / (2 if causal else 1), causal=causal,
        params=sum(sizes.values()),
        non_embedding=sum(n for name, n in sizes.items() if not is_head(name, products)),
        active=round(sum(sizes.values()) - idle))


def transformer_flops(*, blocks: float, vocab_size: int, width: int, depth: int, seq_len: int,
                      attention_width: int | None = None, causal: bool = True) -> float:
    """Return operations per token by the formula: 6 blocks + 6 V D + 12 L D depth (causal: half).

    Args:
        blocks: active parameters of the blocks.
        vocab_size: V; 0 without a head.
        width: D.
        depth: number of blocks.
        seq_len: L, keys a position can attend to.
        attention_width: heads times head width, where it is not D.
        causal: halve attention.
    """
    attention = 12 * seq_len * (attention_width or width) * depth
    return 6 * blocks + 6 * vocab_size * width + attention / (2 if causal else 1)


def mfu(units_per_second: float, flops_per_unit: float, devices: int, peak: float) -> float:
    """Return the model FLOPs utilisation, a fraction of the peak.

    Args:
        units_per_second: tokens or images a second of the whole run.
        flops_per_unit: model FLOPs of one of them, forward and backward.
        devices: how many there are.
        peak: FLOP/s of one device in the dtype of the products, see train/chips.py.
    """
    return units_per_second * flops_per_unit / (devices * peak)
