r"""A mixture of experts of OLMoE's size, 1.2B active of 6.8B parameters, its hyper-parameters.

Muennighoff et al. 2024, https://arxiv.org/abs/2409.02060, table 10. The block is this repository's
(sequence-wise balance loss, no query-key norm), so the run is like OLMoE's, not equal.

    ssljax plan --config experiments/gpt/olmoe_1b_7b.py --devices 64 --chip h200
    ssljax pretrain --config experiments/gpt/olmoe_1b_7b.py --workdir runs/moe \
        --config.source.path=DATASET --config.mesh.expert=8

For a check in a minute on one CPU: --config experiments/gpt/olmoe_1b_7b.py:smoke
"""

import ml_collections


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; every value a run can change is here."""
    smoke = arg == "smoke"
    c = ml_collections.ConfigDict()
    c.seed = 0
    c.mesh = dict(data=1, fsdp=-1, expert=1)

    # Token shards -> packed rows of seq_len predictions.
    c.seq_len = 64 if smoke else 4096
    c.batch_size = 8 if smoke else 1024                # 4.2M tokens a step
    c.total_steps = 20 if smoke else 1_200_000         # 5T tokens
    c.source = dict(name="token_shards", path="data/web", split="train")
    c.pretext = dict(name="next_token", seq_len=c.get_oneway_ref("seq_len"))

    # 64 small experts of which each token meets eight.
    c.model = dict(name="gpt", vocab_size=50_304, width=64 if smoke else 2048,
                   depth=2 if smoke else 16, num_heads=4 if smoke else 16,
                   mlp_dim=32 if smoke else 1024, experts=8 if smoke else 64,
                   experts_per_token=2 if smoke else 8, remat="none" if smoke else "full")
    c.objective = dict(name="next_token", z_loss=0.0, router_balance=0.01, router_z=0.001)
    c.compute_dtype = "float32" if smoke else "bfloat16"
    c.accumulate = 1

    c.optim = dict(name="adamw", lr=4e-4, b1=0.9, b2=0.95, weight_decay=0.1, clip_norm=1.0)
    c.schedule = dict(name="cosine", warmup_steps=2 if smoke else 2500, final_fraction=0.1)

    # A spike is refused; when twenty steps in a row are, it goes back and skips their batches.
    c.spike_factor, c.max_rejected, c.rewinds = 10.0, 20, 3
    c.log_steps, c.checkpoint_steps, c.keep_checkpoints, c.keep_every = 10, 1000, 3, 50_000
    c.evals = dict(bits_per_byte=dict(
        name="bits_per_byte", seq_len=c.get_oneway_ref("seq_len"), every=0 if smoke else 5000,
        source=dict(name="token_shards", path=c.source.get_oneway_ref("path"),
                    split="validation")))
    return c
