"""Flow matching: learn the velocity that carries noise to images.

Lipman et al. 2022, https://arxiv.org/abs/2210.02747; Liu et al. 2022,
https://arxiv.org/abs/2209.03003. Reads image and noise f32 [B, H, W, C], time f32 [B] in [0, 1]
and, of labelled images, label i32 [B], where the number of classes means "none". Evaluation uses
the network on images without a label. Both that and samples take the moving average of the
weights, where the optimizer keeps one (`average` of its config), as usual with these models.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, shard
from ssljax.core.types import Batch, Inputs, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.flow import Solver, Velocity, guided, integrate, place, velocity_target
from ssljax.families.health import spread

TINY: dict[str, object] = {}
KEYS = ("time", "label")
ROWS = (BATCH, None, None, None)


def make(model: Model, *, num_classes: int = 0) -> Objective:
    """Return flow matching.

    Args:
        model: reads image, time and, with classes, label; returns velocity [B, H, W, C].
        num_classes: of the labels, the pretext's and the model's; 0 learns without labels.
    """
    def inputs(batch: Batch) -> Inputs:
        image = place(batch["noise"], batch["image"], batch["time"])
        return {"image": image, **{name: batch[name] for name in KEYS if name in batch}}

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        if ("label" in batch) != (num_classes > 0):
            raise ConfigError(f"flow_matching with num_classes {num_classes} and a pretext that "
                              f"gives {'labels' if 'label' in batch else 'no labels'}: set "
                              "num_classes of objective, model and pretext to the same number.")
        params, stats = model.init(key, inputs(batch))
        return params, {"stats": stats}

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        outputs = model.apply(params, inputs(batch), stats=extra["stats"], key=key, train=True)
        wanted = velocity_target(batch["noise"], batch["image"])
        error = jnp.mean((outputs["velocity"].astype(jnp.float32) - wanted) ** 2, axis=(1, 2, 3))
        total, weight = jnp.sum(error), jnp.float32(len(error))
        metrics = {"velocity_error": (total, weight), "embedding_std": spread(outputs["pooled"])}
        return total, (weight, {"stats": outputs["stats"]}, metrics)

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        del step
        return params, extra

    def encoder(params: Params, extra: PyTree) -> tuple[Params, PyTree]:
        return params, extra["stats"]

    return Objective(init, loss, update, encoder, sample=sampler(model, num_classes))


def sampler(model: Model, num_classes: int) -> Callable[..., Batch]:
    """Return the objective's `sample`."""
    def sample(params: Params, extra: PyTree, key: Key, like: Batch, *, steps: int = 50,
               solver: Solver = "heun", guidance: float = 1.0, label: int = -1) -> Batch:
        """Return {"image": as many as `like` has}, standardised as those of training.

        Args:
            params: of the network.
            extra: its statistics.
            key: of noise and labels.
            like: a batch of this shape.
            steps: of the solver.
            solver: euler, or heun with twice the work a step.
            guidance: scale of classifier-free guidance; 1 follows the label as it was learned.
            label: the class of all images; -1 draws one for each.

        Raises:
            ConfigError: steps are less than one, or label or guidance do not fit the classes.
        """
        check_sampling(num_classes, steps=steps, guidance=guidance, label=label)
        k_noise, k_label = jax.random.split(key)
        shape = like["image"].shape
        x = shard(jax.random.normal(k_noise, shape), *ROWS)
        labels = (jnp.full(shape[:1], label) if label >= 0 else
                  jax.random.randint(k_label, shape[:1], 0, max(num_classes, 1)))

        def velocity(label: jax.Array) -> Velocity:
            known = {"label": label} if num_classes else {}
            return lambda x, time: shard(model.apply(
                params, {"image": x, "time": time, **known}, stats=extra["stats"])["velocity"],
                *ROWS)

        field = guided(velocity(labels), velocity(jnp.full_like(labels, num_classes)), guidance)
        return {"image": integrate(field, x, steps=steps, solver=solver)}

    return sample


def check_sampling(num_classes: int, *, steps: int, guidance: float, label: int) -> None:
    """Raise ConfigError if samples cannot be drawn like this."""
    if steps < 1:
        raise ConfigError(f"steps = {steps}: a solver takes at least one.")
    if not num_classes and (label >= 0 or guidance != 1):
        raise ConfigError(f"label {label} and guidance {guidance} need a model of labelled images; "
                          "this one was trained without labels (num_classes = 0).")
    if label >= max(num_classes, 1):
        raise ConfigError(f"label {label}: this model has the classes 0 to {num_classes - 1}.")
