r"""Flow matching with a diffusion transformer (DiT).

https://arxiv.org/abs/2210.02747, https://arxiv.org/abs/2209.03003, https://arxiv.org/abs/2212.09748

    ssljax pretrain --config experiments/vision/flow_matching.py --config.data.path=DIR \
        --workdir RUN
    ssljax generate RUN --n 16 --out grid.png --steps 50

With --config.data.classes=10 (folders of the data are classes) it learns labels too, of which a
tenth are dropped: `ssljax generate RUN --label 3 --guidance 2`. Samples and features are those of
the moving average of the weights. Unlike DiT it works on pixels, so patches are smaller than of a
classifier; imagenet is a DiT-B on 64 pixels, with the optimizer of the DiT paper (lr 1e-4 at batch
256, no warm-up, no decay).
"""

import ml_collections

from experiments.vision.base import add_held_out, run
from experiments.vision.two_views import add_optimizer

NETWORKS = {"": dict(width=384, depth=12, num_heads=6, patch_size=4),
            "cpu": dict(width=128, depth=4, num_heads=4, patch_size=4),
            "cifar10": dict(width=384, depth=12, num_heads=6, patch_size=2),
            "imagenet": dict(width=768, depth=12, num_heads=12, patch_size=4),
            "smoke": dict(width=32, depth=2, num_heads=2, patch_size=2)}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """One run; arg is a size of experiments/vision/base.py."""
    c = run(arg, network="vit", epochs={"": 400, "cpu": 6, "cifar10": 500, "imagenet": 80},
            batch_size={"": 128, "cpu": 64, "cifar10": 256, "imagenet": 256})
    c.data.classes = 10 if arg == "smoke" else 0
    if arg == "imagenet":
        c.data.size = 64
    pixels, channels, classes = (c.data.get_oneway_ref(n) for n in ("size", "channels", "classes"))
    c.pretext = dict(name="flow_pairs", size=pixels, channels=channels, num_classes=classes,
                     flip_probability=0.0 if arg == "smoke" else 0.5)
    c.model = dict(name="dit", image_size=pixels, channels=channels, num_classes=classes,
                   **NETWORKS[arg])
    c.objective = dict(name="flow_matching", num_classes=classes)
    add_optimizer(c, arg, lr=1e-3 if arg == "cpu" else 3e-4,
                  imagenet=dict(name="adamw", lr=1e-4, weight_decay=0.0))
    c.optim.average = 0.995 if arg in ("cpu", "smoke") else 0.9999
    add_held_out(c, arg)
    return c
