r"""SimCLR on scikit-learn's bundled digits, in about two minutes on two CPU cores.

    ssljax pretrain --config experiments/vision/simclr_digits.py --workdir runs/simclr_digits
    ssljax evaluate runs/simclr_digits

Test accuracy with 10 labels a class, seeds 0 and 1: k-NN 0.951 and 0.949 (raw pixels 0.937, the
untrained network 0.739), linear 0.952 and 0.942 (raw 0.910, untrained 0.806). Raw pixels of these
8 by 8 images are nearly enough: the run shows that the method works from data to judgement, not
how good it is. Values were chosen on a quarter of the training images held out, not on test
images. For a few seconds instead: --config experiments/vision/simclr_digits.py:smoke
"""

import ml_collections


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; every value a run can change is here."""
    smoke = arg == "smoke"
    c = ml_collections.ConfigDict()
    c.seed = 0
    c.mesh = dict(data=-1)
    c.batch_size = 64 if smoke else 256              # negatives come from the batch
    c.total_steps = 10 if smoke else 1000
    c.compute_dtype = "float32"                      # XLA has no fast bfloat16 products on CPUs
    c.accumulate = 1                                 # contrast needs the whole batch at once

    # Real images -> two random views; a mirrored digit is no digit, and nothing has colour.
    c.source = dict(name="digits", split="train")
    c.pretext = dict(name="two_views", size=8, channels=1, min_area=0.5, flip_probability=0.0,
                     jitter=1.0, gray_probability=0.0, blur_probability=0.5)

    # Network and objective.
    c.model = dict(name="vit", image_size=8, channels=1, patch_size=4, width=64, depth=2,
                   num_heads=4, layers="unroll")
    c.objective = dict(name="simclr", temperature=0.2, hidden_dim=256, out_dim=64)

    c.optim = dict(name="adamw", lr=4e-3, b1=0.9, b2=0.999, weight_decay=0.05, clip_norm=1.0)
    c.schedule = dict(name="cosine", warmup_steps=2 if smoke else 60, final_fraction=0.0)

    # Each judgement has raw pixels and an untrained network beside the method.
    c.log_steps, c.checkpoint_steps, c.keep_checkpoints = 10, 500, 2
    data = dict(train_source=dict(name="digits", split="train"),
                test_source=dict(name="digits", split="test"), labels_per_class=10)
    c.evals = dict(knn=dict(name="knn", **data), linear=dict(name="linear", **data))
    return c
