r"""GPT-2 size (124M) on token shards; hyper-parameters of nanoGPT's train_gpt2.py.

https://github.com/karpathy/nanoGPT. The block is this repository's (RoPE, RMSNorm, SwiGLU), so the
count of parameters is close to GPT-2's, not equal.

    ssljax pretrain --config experiments/gpt/gpt2_124m.py --workdir runs/gpt2 \
        --config.source.path=DATASET

For a check in a minute on one CPU: --config experiments/gpt/gpt2_124m.py:smoke
"""

import ml_collections


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; every value a run can change is here."""
    smoke = arg == "smoke"
    c = ml_collections.ConfigDict()
    c.seed = 0
    c.mesh = dict(data=1, fsdp=-1, tensor=1)

    # Token shards -> packed rows of seq_len predictions.
    c.seq_len = 64 if smoke else 1024
    c.batch_size = 8 if smoke else 480                # 491,520 tokens a step
    c.total_steps = 20 if smoke else 20_000           # 9.8B tokens
    c.source = dict(name="token_shards", path="data/web", split="train")
    c.pretext = dict(name="next_token", seq_len=c.get_oneway_ref("seq_len"))

    # The vocabulary is 50,257 padded to a multiple of 128.
    c.model = dict(name="gpt", vocab_size=50_304, width=64 if smoke else 768,
                   depth=2 if smoke else 12, num_heads=4 if smoke else 12, layers="scan",
                   remat="none" if smoke else "full")
    c.objective = dict(name="next_token", z_loss=0.0)
    c.compute_dtype = "float32" if smoke else "bfloat16"
    c.accumulate = 1

    c.optim = dict(name="adamw", lr=6e-4, b1=0.9, b2=0.95, weight_decay=0.1, clip_norm=1.0)
    c.schedule = dict(name="cosine", warmup_steps=2 if smoke else 715, final_fraction=0.1)

    c.log_steps, c.checkpoint_steps, c.keep_checkpoints = 10, 1000, 3
    c.evals = dict(bits_per_byte=dict(
        name="bits_per_byte", seq_len=c.get_oneway_ref("seq_len"), every=0 if smoke else 1000,
        source=dict(name="token_shards", path=c.source.get_oneway_ref("path"),
                    split="validation")))
    return c
