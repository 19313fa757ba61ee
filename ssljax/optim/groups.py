"""The words of an optimizer's config, and which rule moves which weight. Free of jax.

    optim = dict(name="adamw", lr=1e-3, weight_decay=0.1, clip_norm=1.0, average=0.999,
                 groups=dict(
                     tables=dict(match=".*embedding", lr_scale=0.1, weight_decay=0.0),
                     blocks=dict(match=r"decoder/.*w_(up|down)", name="muon", momentum=0.95),
                     stem=dict(match=".*w_patch", freeze=True)))

A group is the rule of the other weights with some of its words changed, another rule, or no rule:
one mechanism for a learning rate, a decay, an optimizer and freezing by group. `match` is a regular
expression of a weight's whole slash-separated path. Groups are named, so that the command line can
change them; they may not overlap, so that their order means nothing. Blocks are one array, which no
group can take apart: `layer_decay` gives lower ones a smaller learning rate.
"""

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ssljax.core.config import check_spec, find_make, split_spec
from ssljax.core.errors import ConfigError, nearest

MAIN = "main"                                # the rule of the weights that no group matches
GROUP_WORDS = ("match", "freeze", "lr_scale")
# Rules whose step does not depend on the gradient's scale, which muP's table 8 needs.
ADAM_LIKE = ("adamw", "lion", "schedule_free")


class Group(NamedTuple):
    """Weights with a rule of their own; rule None freezes them."""

    match: str
    rule: Mapping[str, Any] | None


class Recipe(NamedTuple):
    """What an optimizer's config says.

    rule:      name and keywords for the weights of no group
    clip_norm: largest global norm of the gradient; 0 does not clip
    average:   decay of the moving average of the weights; 0 keeps none
    groups:    label -> group
    layer_decay: factor of the learning rate from a block of the encoder to the one below; 1: none
    """

    rule: Mapping[str, Any]
    clip_norm: float
    average: float
    groups: Mapping[str, Group]
    layer_decay: float


def options(*, clip_norm: float = 0.0, average: float = 0.0, groups: Mapping[str, Any] = {},
            layer_decay: float = 1.0) -> None:
    """Name and type the words that every optimizer takes beside those of its rule."""


COMMON = tuple(inspect.signature(options).parameters)


def read(spec: Mapping[str, Any], where: str = "optim") -> Recipe:
    """Return what an optimizer's config says, every word of it checked.

    Raises:
        ConfigError: an unknown word, a wrong type, a bad regular expression, a number that cannot
            work, or words that contradict each other.
    """
    rule = {key: value for key, value in spec.items() if key not in COMMON}
    common = {key: spec[key] for key in COMMON if key in spec}
    check_spec(where, options, common, {})
    recipe = Recipe(rule, common.get("clip_norm", 0.0), common.get("average", 0.0),
                    {label: read_group(f"{where}.groups.{label}", rule, group)
                     for label, group in dict(common.get("groups", {})).items()},
                    common.get("layer_decay", 1.0))
    if recipe.clip_norm < 0:
        raise ConfigError(f"{where}.clip_norm = {recipe.clip_norm}; expected at least 0 (0 does "
                          "not clip).")
    if not 0 <= recipe.average < 1:
        raise ConfigError(f"{where}.average = {recipe.average}; expected a decay below 1, such as "
                          "0.999, or 0 for no average.")
    if not 0 < recipe.layer_decay <= 1:
        raise ConfigError(f"{where}.layer_decay = {recipe.layer_decay}; expected a factor above 0 "
                          "and at most 1, such as 0.75, or 1 for one learning rate.")
    check_rule(where, rule, COMMON)
    for label, group in recipe.groups.items():
        if group.rule is not None:
            check_rule(f"{where}.groups.{label}", group.rule, GROUP_WORDS)
    names = {r["name"] for r in (rule, *(g.rule for g in recipe.groups.values() if g.rule))}
    if recipe.average and "schedule_free" in names:
        raise ConfigError(f"{where}.average = {recipe.average}, but schedule_free judges an "
                          "average of its own; leave one of the two out.")
    if recipe.layer_decay != 1 and "schedule_free" in names:
        raise ConfigError(f"{where}.layer_decay = {recipe.layer_decay}, but schedule_free averages "
                          "its steps before they could be scaled; use adamw.")
    return recipe


def read_group(where: str, rule: Mapping[str, Any], group: Any) -> Group:
    """Return a group as its own complete rule."""
    if not isinstance(group, Mapping):
        raise ConfigError(f'{where} = {group!r}; expected dict(match="...", ...).')
    words = dict(group)
    match, scale, freeze = words.pop("match", None), words.pop("lr_scale", 1.0), words.pop(
        "freeze", False)
    if not isinstance(match, str):
        raise ConfigError(f"{where}.match = {match!r}; expected a regular expression of weights' "
                          'whole paths, such as ".*embedding".')
    try:
        re.compile(match)
    except re.error as err:
        raise ConfigError(f"{where}.match = {match!r} is no regular expression: {err}.") from err
    if not isinstance(freeze, bool) or freeze and (words or scale != 1.0):
        raise ConfigError(f"{where}.freeze = {freeze!r} beside {sorted(words)}; a frozen group has "
                          "no other words.")
    if freeze:
        return Group(match, None)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or scale <= 0:
        raise ConfigError(f"{where}.lr_scale = {scale!r}; expected a number above 0, or "
                          "freeze=True.")
    same = words.get("name", rule.get("name")) == rule.get("name")
    whole = {**(rule if same else {k: rule[k] for k in ("lr",) if k in rule}), **words}
    return Group(match, scaled(whole, scale))


def scaled(rule: Mapping[str, Any], scale: float) -> Mapping[str, Any]:
    """Return a rule with its learning rate times `scale`."""
    if scale == 1:
        return rule
    if not isinstance(rule.get("lr"), int | float):
        raise ConfigError(f"optim {rule.get('name')!r} has lr = {rule.get('lr')!r}, which cannot "
                          f"be scaled by {scale:g}; expected a number.")
    return {**rule, "lr": rule["lr"] * scale}


def check_rule(where: str, rule: Mapping[str, Any], more: Iterable[str]) -> None:
    """Raise ConfigError unless `rule` can be made; `more` are words that are read elsewhere."""
    name, kwargs = split_spec(where, rule)
    make = find_make("optim", name)
    known = {n for n, p in inspect.signature(make).parameters.items() if p.kind is p.KEYWORD_ONLY}
    for key in kwargs:
        if key not in known:
            raise ConfigError(f'{where} {name!r} has no option "{key}"; '
                              f"{nearest(key, known | set(more))}")
    check_spec(f"{where} {name!r}", make, kwargs, {})


def assign(recipe: Recipe, weights: Iterable[str]) -> dict[str, str]:
    """Return weight -> label of the group that moves it, or MAIN.

    Args:
        recipe: what the config says.
        weights: slash-separated paths.

    Raises:
        ConfigError: a group matches no weight, or two groups match one.
    """
    weights = list(weights)
    labels = dict.fromkeys(weights, MAIN)
    for label, group in recipe.groups.items():
        matched = [w for w in weights if re.fullmatch(group.match, w)]
        if not matched:
            raise ConfigError(f"optim.groups.{label}.match = {group.match!r} matches no weight; it "
                              f"is held against whole paths. Weights: {', '.join(weights)}.")
        taken = [w for w in matched if labels[w] != MAIN]
        if taken:
            raise ConfigError(f'Weight "{taken[0]}" is matched by optim.groups.{labels[taken[0]]} '
                              f"and optim.groups.{label}; make one of them exclude it.")
        labels |= dict.fromkeys(matched, label)
    return labels
