"""The optimizer of a run: freeze, clip, each group's rule, slower lower layers, the average.

See optim/groups.py for the config. Widths enter through `lr_scales` (muP): weights whose learning
rate is scaled by the model keep their decay per step, lr * weight_decay, as in the authors' code of
Yang et al. 2022, https://arxiv.org/abs/2203.03466.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import optax

from ssljax.core.config import resolve
from ssljax.core.errors import ConfigError
from ssljax.core.tree import named_leaves
from ssljax.core.types import Params, PyTree
from ssljax.optim.average import averaged
from ssljax.optim.groups import ADAM_LIKE, MAIN, Recipe, assign, read, scaled
from ssljax.optim.layers import slower_below

Part = tuple[str, float]      # group label, factor of the learning rate


def compose(spec: Mapping[str, Any], schedule: optax.Schedule,
            lr_scales: Mapping[str, float] | None = None,
            total_steps: int = 0) -> optax.GradientTransformation:
    """Return the optimizer of a config.

    Args:
        spec: name and keywords of the rule, with clip_norm, average and groups.
        schedule: step -> fraction of the learning rate.
        lr_scales: regular expression of a weight's last name -> factor of its learning rate.
        total_steps: of the run, for rules that need them beside the schedule.

    Raises:
        ConfigError: the config cannot work; when the state is made, also if a group matches no
            weight or two match one.
    """
    recipe, lr_scales = read(spec), dict(lr_scales or {})
    tx = by_group(recipe, schedule, lr_scales, total_steps)
    if recipe.layer_decay != 1:
        tx = optax.chain(tx, slower_below(recipe.layer_decay))
    if recipe.clip_norm:
        tx = optax.chain(optax.clip_by_global_norm(recipe.clip_norm), tx)
    if any(group.rule is None for group in recipe.groups.values()):
        # Gradients of frozen weights count in no norm.
        tx = optax.chain(optax.masked(optax.set_to_zero(), lambda tree: frozen(recipe, tree)), tx)
    return averaged(tx, recipe.average) if recipe.average else tx


def frozen(recipe: Recipe, tree: PyTree) -> PyTree:
    """Return tree -> tree of bool: True where a group freezes the weight."""
    labels = assign(recipe, named_leaves(tree))
    leaves = [label != MAIN and recipe.groups[label].rule is None for label in labels.values()]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def by_group(recipe: Recipe, schedule: optax.Schedule,
             lr_scales: Mapping[str, float], total_steps: int) -> optax.GradientTransformation:
    """Return the optimizer that hands every weight to its group's rule."""
    if not recipe.groups and not lr_scales:
        return resolve("optim", recipe.rule, schedule, total_steps=total_steps)

    def parts(tree: PyTree) -> optax.GradientTransformationExtraArgs:
        names = assign(recipe, named_leaves(tree))
        chosen = {weight: (label, factor(weight, lr_scales)) for weight, label in names.items()}
        rules = {title(part): rule_of(recipe, part, schedule, total_steps)
                 for part in set(chosen.values())}
        labels = [title(part) for part in chosen.values()]
        return optax.partition(rules, jax.tree.unflatten(jax.tree.structure(tree), labels))

    def init(params: Params) -> PyTree:
        return parts(params).init(params)

    def update(grads: PyTree, state: PyTree, params: Params) -> tuple[PyTree, PyTree]:
        return parts(grads).update(grads, state, params)

    return optax.GradientTransformation(init, update)


def factor(weight: str, lr_scales: Mapping[str, float]) -> float:
    """Return the factor of a weight's learning rate; the first expression that matches wins."""
    name = weight.rpartition("/")[2]
    return next((s for names, s in lr_scales.items() if re.fullmatch(names, name)), 1.0)


def title(part: Part) -> str:
    """Return what a part of the optimizer's state is called, in checkpoints too."""
    label, scale = part
    return label if scale == 1 else f"{label}*{scale:g}"


def rule_of(recipe: Recipe, part: Part, schedule: optax.Schedule,
            total_steps: int) -> optax.GradientTransformation:
    """Return the rule of a part."""
    label, scale = part
    rule = recipe.rule if label == MAIN else recipe.groups[label].rule
    if rule is None:
        return optax.set_to_zero()
    if scale != 1:
        if rule["name"] not in ADAM_LIKE:
            raise ConfigError(f"The model asks for learning rates by width (mup_base_width), which "
                              f"are derived for {', '.join(ADAM_LIKE)}; optim is {rule['name']!r}.")
        rule = scaled(rule, scale)
        decays = {key: rule[key] / scale for key in ("weight_decay", "final_weight_decay")
                  if rule.get(key)}
        rule = {**rule, **decays}
    return resolve("optim", rule, schedule, where=f"optim.groups.{label}",
                   total_steps=total_steps)
