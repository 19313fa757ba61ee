"""Images with a class and a sentence about it: captions where a dataset has labels alone.

Which of the templates a record gets is a hash of its id, so it is the same on every machine. The
prompts are of the kind that CLIP was evaluated with (https://arxiv.org/abs/2103.00020, section
3.1.4). Returns the records of `source` with "text": str added.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssljax.core.errors import ConfigError, DataError
from ssljax.core.rng import hash64
from ssljax.core.source import Source

TEMPLATES = ("a photo of a {}.", "a blurry photo of a {}.", "a small picture of a {}.",
             "this is a {}.", "a close-up of a {}.", "a photo of one {}.", "there is a {} here.",
             "a cropped image of a {}.")


def make(*, source: Source, classes: Sequence[str], templates: Sequence[str] = TEMPLATES,
         ) -> Source:
    """Return the captioned source.

    Args:
        source: records with "label": an index into `classes`.
        classes: the name of each class; folders of images are sorted by name.
        templates: sentences with one {} for the name.

    Raises:
        ConfigError: a template has no {}.
    """
    for template in templates:
        if template.count("{}") != 1:
            raise ConfigError(f'captioned template "{template}" has no single {{}} for the name '
                              'of the class; write for example "a photo of a {}."')
    return Captioned(source, tuple(classes), tuple(templates))


@dataclasses.dataclass(frozen=True)
class Captioned:
    """A source whose records say in words what they show."""

    source: Source
    classes: tuple[str, ...]
    templates: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.source)

    def read(self, indices: np.ndarray) -> Sequence[dict[str, Any]]:
        """Return the records with their "text"."""
        return [{**record, "text": self.caption(record)} for record in self.source.read(indices)]

    def caption(self, record: Mapping[str, Any]) -> str:
        """Return a sentence about one record.

        Raises:
            DataError: it has no label, or one without a name.
        """
        label = record.get("label")
        if label is None or not 0 <= label < len(self.classes):
            raise DataError(f"Record {record['id']} has the label {label}; captioned needs one "
                            f"below {len(self.classes)}, the number of its classes.")
        pick = hash64("caption", *map(int, record["id"])) % len(self.templates)
        return self.templates[pick].format(self.classes[label])

    def fingerprint(self) -> Mapping[str, str]:
        """Return the images' fingerprint with the words."""
        words = format(hash64(*self.classes, *self.templates), "x")
        return {**self.source.fingerprint(), "captions": words}
