"""What an architecture of transformers has to tell to be read and, where it can, written."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ssljax.core.errors import ArtefactError
from ssljax.export.hugging_face.rules import Rule, Tensors

Config = Mapping[str, Any]
Spec = Mapping[str, Any]               # of a model of ours: {"name": "gpt", "width": ...}


class Architecture(NamedTuple):
    """A network of theirs as one of ours.

    spec:    their config.json -> our model's spec; raises ArtefactError where it has none
    rules:   our spec -> which weights are which
    prefix:  before the names of the base model's tensors in models with a head
    ignored: pattern of tensors that nothing of ours needs
    prepare: (tensors, config) -> tensors as `rules` expect them
    """

    spec: Callable[[Config], dict[str, Any]]
    rules: Callable[[Spec], Sequence[Rule]]
    prefix: str
    ignored: str
    prepare: Callable[[Tensors, Config], Tensors] = lambda tensors, config: tensors


def require(config: Config, expected: Mapping[str, Any]) -> None:
    """Raise ArtefactError where config.json says something else than what ours computes.

    Args:
        config: theirs; a field that is absent is as expected.
        expected: field -> the value, or a tuple of those that are right.
    """
    for field, value in expected.items():
        right = value if isinstance(value, tuple) else (value,)
        if config.get(field, right[0]) not in right:
            raise ArtefactError(
                f"config.json of {config['model_type']} has {field} = {config[field]!r}; ours "
                f"computes {' or '.join(map(repr, right))} only. This model cannot be imported.")
