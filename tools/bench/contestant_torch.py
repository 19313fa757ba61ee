"""The same GPT in PyTorch, and as Hugging Face's Llama: contestants of train_cpu and train_gpu.

    python tools/bench/contestant_torch.py KIND SPEC

KIND is eager, compile, transformers or transformers-compile; SPEC is JSON: vocab_size, width,
depth, num_heads, mlp_dim, seq_len, batch_size, dtype, device. Runs in an environment of its own.
Weights are float32; with dtype bfloat16 products are autocast, which is what ours computes.
"""

import functools
import json
import os
import sys

import torch
from rounds import serve
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """x + attention(norm(x)), then x + swiglu(norm(x))."""

    def __init__(self, width: int, heads: int, hidden: int):
        """Declare the weights, without biases."""
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Map x [B, L, D] to [B, L, D]."""
        b, length, d = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, length, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)                      # [B, H, L, K] each
        q, k = (rotate(t, cos, sin) for t in (q, k))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, length, d))
        y = self.norm2(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate the halves of each head; angles in float32."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)


class GPT(nn.Module):
    """Embed, transform, project onto the same table."""

    def __init__(self, spec: dict):
        """Build from a spec."""
        super().__init__()
        width, heads = spec["width"], spec["num_heads"]
        self.table = nn.Embedding(spec["vocab_size"], width)
        nn.init.normal_(self.table.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(width, heads, spec["mlp_dim"])
                                    for _ in range(spec["depth"]))
        self.norm = nn.RMSNorm(width, eps=1e-6)
        half = width // heads // 2
        angle = torch.arange(spec["seq_len"])[:, None] * 10_000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of tokens [B, L]."""
        x = self.table(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = functional.linear(self.norm(x), self.table.weight)
        return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def llama(spec: dict) -> nn.Module:
    """Return transformers' Llama of the same shape."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(
        vocab_size=spec["vocab_size"], hidden_size=spec["width"],
        intermediate_size=spec["mlp_dim"], num_hidden_layers=spec["depth"],
        num_attention_heads=spec["num_heads"], tie_word_embeddings=True, use_cache=False,
        max_position_embeddings=spec["seq_len"], attn_implementation="sdpa"))


def main() -> None:
    """Prepare, and take turns."""
    kind, spec = sys.argv[1], json.loads(sys.argv[2])
    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.set_float32_matmul_precision(spec.get("precision", "highest"))
    device = spec["device"]
    hugging_face = kind.startswith("transformers")
    model = (llama(spec) if hugging_face else GPT(spec)).to(device)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1, fused=True)
    shape = (spec["batch_size"], spec["seq_len"])
    tokens, targets = (torch.randint(spec["vocab_size"], shape, device=device) for _ in range(2))
    forward = torch.compile(model) if kind.endswith("compile") else model
    cast = functools.partial(torch.autocast, device, torch.bfloat16,
                             enabled=spec["dtype"] == "bfloat16")

    def steps(count: int) -> None:
        for _ in range(count):
            with cast():
                # labels are shifted inside transformers; the work is the same.
                loss = (forward(input_ids=tokens, labels=targets).loss if hugging_face
                        else forward(tokens, targets))
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        float(loss.detach())

    steps(2)
    serve(steps, {"version": torch.__version__, "params": sum(p.numel() for p in parameters)})


if __name__ == "__main__":
    main()
