"""What the device must know of each row to draw its next token: settings, state and history.

Written in place on the host, where `write_` is in a name; read by the device, which also advances
them where it decodes several tokens at a time. Arrays have fixed shapes whatever a request asks
for, so that one compiled program serves every mixture of requests.
Shapes: B rows, T entries of context, V vocabulary, W = ceil(V / 32) words of a mask, N biases.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.serve.jobs import Job

BIASES = 300                             # ids one request may bias; unused places hold UNUSED
UNUSED = np.iinfo(np.int32).max          # no vocabulary has this id: scattering drops it
COLDEST = 1e-5                           # below, dividing by a temperature overflows: greedy


class Rows(NamedTuple):
    """Everything a draw depends on besides the logits.

    token:         i32 [B], last token, read by the next step
    position:      i32 [B], where it stands
    count:         i32 [B], tokens generated so far: the draw of token n has fold_in(key(seed), n)
    prompt_length: i32 [B]
    history:       i32 [B, T], the prompt, then what was generated; the rest is not read
    temperature:   f32 [B], 0 for the most probable token
    top_k:         i32 [B], 0 for all
    top_p, min_p:  f32 [B]
    presence, frequency, repetition: f32 [B], penalties; 0, 0 and 1 have no effect
    bias_ids:      i32 [B, N], UNUSED after the last
    bias:          f32 [B, N], added to the logits of those ids
    constrained:   bool [B], whether `allowed` applies
    allowed:       u32 [B, W], bit i % 32 of word i // 32 says whether token i may come
    seed:          u32 [B]
    report:        bool [B], whether alternatives are wanted
    adapter:       i32 [B], place of its adapter, 0 for none
    """

    token: np.ndarray
    position: np.ndarray
    count: np.ndarray
    prompt_length: np.ndarray
    history: np.ndarray
    temperature: np.ndarray
    top_k: np.ndarray
    top_p: np.ndarray
    min_p: np.ndarray
    presence: np.ndarray
    frequency: np.ndarray
    repetition: np.ndarray
    bias_ids: np.ndarray
    bias: np.ndarray
    constrained: np.ndarray
    allowed: np.ndarray
    seed: np.ndarray
    report: np.ndarray
    adapter: np.ndarray


def idle_rows(rows: int, *, vocab: int, context: int) -> Rows:
    """Return rows that decode the first token greedily at position 0, to no effect."""
    def full(value: float, kind: type, *more: int) -> np.ndarray:
        return np.full((rows, *more), value, kind)

    def whole(*more: int) -> np.ndarray:
        return full(0, np.int32, *more)

    def real(value: float = 0.0) -> np.ndarray:
        return full(value, np.float32)

    return Rows(
        token=whole(), position=whole(), count=whole(), prompt_length=whole(),
        history=whole(context), temperature=real(), top_k=whole(), top_p=real(1), min_p=real(),
        presence=real(), frequency=real(), repetition=real(1),
        bias_ids=full(UNUSED, np.int32, BIASES), bias=full(0, np.float32, BIASES),
        constrained=full(0, bool), allowed=full(0, np.uint32, -(-vocab // 32)),
        seed=full(0, np.uint32), report=full(0, bool), adapter=whole())


def make_row(job: Job, *, vocab: int, context: int) -> Rows:
    """Return the one row of a job whose prompt has been read and whose first token is to come."""
    row, prompt, sampling = idle_rows(1, vocab=vocab, context=context), job.prompt, job.sampling
    row.token[0], row.position[0] = prompt[-1], len(prompt) - 1
    row.prompt_length[0] = len(prompt)
    row.history[0, :len(prompt)] = prompt
    settings = sampling._asdict()
    settings["temperature"] *= sampling.temperature >= COLDEST
    for at, (token, value) in enumerate(settings.pop("bias")):
        row.bias_ids[0, at], row.bias[0, at] = token, value
    for name, value in settings.items():
        getattr(row, name)[0] = value
    row.report[0] = job.logprobs is not None
    row.adapter[0] = job.adapter.place
    return row


def write_row(rows: Rows, slot: int, row: Rows) -> None:
    """Put the one row of `row` at `slot`."""
    for whole, one in zip(rows, row, strict=True):
        whole[slot] = one[0]


def write_token(rows: Rows, slot: int, token: int) -> None:
    """Note on the host that the row at `slot` got its next token.

    Only once the device has answered: on CPUs it reads the arrays where they are.
    """
    rows.history[slot, rows.prompt_length[slot] + rows.count[slot]] = token
    rows.token[slot] = token
    rows.position[slot] += 1
    rows.count[slot] += 1


def write_allowed(rows: Rows, slot: int, allowed: np.ndarray) -> None:
    """Let only the tokens of `allowed`, u32 [W], come next in the row at `slot`."""
    rows.allowed[slot], rows.constrained[slot] = allowed, True


def write_idle(rows: Rows, slots: Sequence[int]) -> None:
    """Make rows idle that are not: a stale setting would cost all rows its work in every step."""
    stale = [slot for slot in slots if rows.prompt_length[slot]]     # idle rows have no prompt
    if stale:
        idle = idle_rows(1, vocab=32 * rows.allowed.shape[1], context=rows.history.shape[1])
        for slot in stale:
            write_row(rows, slot, idle)


def advance(rows: Rows, token: jax.Array) -> Rows:
    """Return `rows`, on the device, after each got its next token, i32 [B].

    A row whose context is full keeps its history; what it draws from then on is not to be used.
    """
    end = rows.prompt_length + rows.count
    history = jnp.asarray(rows.history).at[jnp.arange(token.shape[0]), end].set(token, mode="drop")
    return rows._replace(token=token, position=rows.position + 1, count=rows.count + 1,
                         history=history)
