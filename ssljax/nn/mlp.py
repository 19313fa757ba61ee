"""Feed-forward layers: SwiGLU and GELU. Shapes: B batch, L length, D width, F hidden."""

import functools

import flax.linen as nn
import jax

from ssljax.core.sharding import BATCH
from ssljax.nn.low_rank import adapted
from ssljax.nn.matmul import Matmul, project

HIDDEN = (BATCH, "context", "tensor")
WIDE = (BATCH, "context", None)


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)), Shazeer 2020, https://arxiv.org/abs/2002.05202."""

    hidden: int
    out_scale: float
    matmul: Matmul = "full"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map x [B, L, D] to [B, L, D]."""
        d, init = x.shape[-1], nn.initializers
        w_gate = self.param("w_gate", init.lecun_normal(), (d, self.hidden))
        w_up = self.param("w_up", init.lecun_normal(), (d, self.hidden))
        w_down = self.param("w_down", init.variance_scaling(
            self.out_scale, "fan_in", "truncated_normal"), (self.hidden, d))
        [gate] = adapted(self, "w_gate", x, project("BLD,DF->BLF", x, w_gate, out=HIDDEN,
                                                    matmul=self.matmul))
        [up] = adapted(self, "w_up", x, project("BLD,DF->BLF", x, w_up, out=HIDDEN,
                                                matmul=self.matmul))
        y = jax.nn.silu(gate) * up
        [y] = adapted(self, "w_down", y, project("BLF,FD->BLD", y, w_down, out=WIDE,
                                                 matmul=self.matmul))
        return y


class GELU(nn.Module):
    """down(gelu(up(x))) with biases, as in Vaswani et al. 2017 and vision transformers."""

    hidden: int
    out_scale: float
    matmul: Matmul = "full"
    approximate: bool = True        # by tanh, as in GPT-2; released ViTs have the exact one

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map x [B, L, D] to [B, L, D]."""
        d, init = x.shape[-1], nn.initializers
        w_up = self.param("w_up", init.lecun_normal(), (d, self.hidden))
        b_up = self.param("b_up", init.zeros, (self.hidden,))
        w_down = self.param("w_down", init.variance_scaling(
            self.out_scale, "fan_in", "truncated_normal"), (self.hidden, d))
        b_down = self.param("b_down", init.zeros, (d,))
        [y] = adapted(self, "w_up", x, project("BLD,DF->BLF", x, w_up, out=HIDDEN,
                                               matmul=self.matmul))
        y = jax.nn.gelu(y + b_up, approximate=self.approximate)
        [y] = adapted(self, "w_down", y, project("BLF,FD->BLD", y, w_down, out=WIDE,
                                                 matmul=self.matmul))
        return y + b_down


MLPS = {"swiglu": SwiGLU, "gelu": GELU,
        "gelu_erf": functools.partial(GELU, approximate=False)}
