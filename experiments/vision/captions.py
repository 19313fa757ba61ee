"""What CLIP and SigLIP share: captioned images, two towers, and judgements of both.

Sizes cpu, cifar10 and smoke caption images by the names of their folders, in eight sentences; ""
and imagenet read captions from --config.data.path: `01.txt` beside `01.jpg`, or a column "text".
Captions are read byte by byte, which needs no vocabulary: CLIP's 77 tokens are about 300 bytes.
A crop is the papers' only augmentation; the few images of small sizes are mirrored too, as their
captions do not tell left from right.
"""

import ml_collections

from experiments.vision.base import host_crop

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEXTS = {"": dict(width=256, depth=6, num_heads=4), "cpu": dict(width=64, depth=2, num_heads=2),
         "cifar10": dict(width=256, depth=4, num_heads=4),
         "imagenet": dict(width=512, depth=12, num_heads=8),
         "smoke": dict(width=32, depth=1, num_heads=2)}


def add_captions(c: ml_collections.ConfigDict, size: str, *, causal: bool) -> dict:
    """Set source, pretext and the judgements of texts; return the spec of the text tower.

    Args:
        c: the run.
        size: its size.
        causal: whether a token sees only those before it.
    """
    seq_len = 256 if size in ("", "imagenet") else 40
    pixels, channels = (c.data.get_oneway_ref(n) for n in ("size", "channels"))
    if size == "cpu":
        c.model.patch_size = 8                       # a quarter as many patches, four times as soon
    c.pretext = dict(name="image_text", size=pixels, channels=channels, seq_len=seq_len,
                     tokenizer=dict(name="byte"), **host_crop(size),
                     flip_probability=0.5 if size in ("cpu", "cifar10") else 0.0)
    # 320 rows divide over any tensor axis; bytes and their end take 257.
    text = dict(name="text_encoder", vocab_size=320, end_of_text=256, causal=causal, **TEXTS[size])
    if size in ("", "imagenet"):
        return text
    classes = DIGITS if size == "smoke" else CIFAR10
    test = spec_of(c.evals.knn.test_source)

    def named(source: dict) -> dict:
        return dict(name="captioned", source=source, classes=classes)

    c.source = named(spec_of(c.source))
    c.evals.health.source = named(spec_of(c.evals.health.source))
    towers = dict(text_model=text, tokenizer=dict(name="byte"), seq_len=seq_len)
    c.evals.zero_shot = dict(name="zero_shot", source=test, classes=classes, **towers)
    c.evals.retrieval = dict(name="image_text_retrieval", source=named(test), **towers)
    return text


def spec_of(source: ml_collections.ConfigDict) -> dict:
    """Return the words of a source, which go on following those of the data."""
    return dict(source.items(preserve_field_references=True))
