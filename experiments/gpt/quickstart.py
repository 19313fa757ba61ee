r"""A small language model in a few minutes on two CPU cores: the model of `ssljax quickstart`.

    ssljax curate --config data_pipelines/text.py --output quickstart/data
    ssljax pretrain --config experiments/gpt/quickstart.py --workdir quickstart/run

`ssljax quickstart` runs these and sets total_steps from the time it is given.
"""

import ml_collections


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; every value a run can change is here."""
    smoke = arg == "smoke"
    c = ml_collections.ConfigDict()
    c.seed = 0
    c.mesh = dict(data=-1, fsdp=1, tensor=1)

    # Token shards -> packed rows of seq_len predictions.
    c.seq_len = 64 if smoke else 256
    c.batch_size = 8
    c.total_steps = 20 if smoke else 640              # 1.3M tokens
    c.source = dict(name="token_shards", path="quickstart/data", split="train")
    c.pretext = dict(name="next_token", seq_len=c.get_oneway_ref("seq_len"))

    # Layers unrolled: a small model without remat is 40 % faster so on a CPU.
    c.model = dict(name="gpt", vocab_size=4096, width=64 if smoke else 192, depth=2 if smoke else 4,
                   num_heads=2 if smoke else 3, layers="unroll")
    c.objective = dict(name="next_token")
    c.compute_dtype = "float32"      # XLA has no fast bfloat16 matrix products on CPUs
    c.accumulate = 1

    # Minutes are few: Muon has after 300 steps the loss that AdamW has after 640, in one run.
    c.optim = dict(name="muon", lr=4e-3, momentum=0.95, b1=0.9, b2=0.95, weight_decay=0.1,
                   clip_norm=1.0)
    c.schedule = dict(name="warmup_stable_decay", warmup_steps=50, decay_fraction=0.5)

    c.log_steps, c.checkpoint_steps, c.keep_checkpoints = 10, 200, 2
    c.evals = dict(bits_per_byte=dict(
        name="bits_per_byte", seq_len=c.get_oneway_ref("seq_len"),
        source=dict(name="token_shards", path="quickstart/data", split="validation")))
    return c
