"""Buckets are thirds of the sample, ordinary text is in the head, and told buckets are dropped."""

import json
import random

import pytest

from data_pipelines.steps import perplexity
from data_pipelines.table import column
from ssljax.core.errors import ConfigError


def write(path, texts):
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    return str(path)


@pytest.fixture
def options(tmp_path, prose):
    text = prose(0, 4000)
    words = text.split()
    samples = []
    for i in range(90):                 # a third as trained, a third shuffled, a third foreign
        some = words[i * 40:i * 40 + 40]
        if i % 3:
            random.Random(i).shuffle(some)
        samples.append(prose(i + 5, 40) if i % 3 == 2 else " ".join(some))
    return dict(train=write(tmp_path / "train.jsonl", [text]),
                sample=write(tmp_path / "sample.jsonl", samples),
                model=str(tmp_path / "p.safetensors")), samples


def test_the_sample_is_cut_in_thirds_by_how_like_the_training_text_it_is(table, options):
    out = perplexity.make(**options[0])(table([*options[1], ""]))
    assert column(out, "perplexity_bucket") == ["head", "middle", "tail"] * 30 + [None]
    assert column(out, "perplexity")[-1] is None and out["dropped"].null_count == 91


def test_told_buckets_are_dropped_with_their_perplexity(table, options):
    out = perplexity.make(**options[0], drop_buckets=("tail",))(table(options[1][:3]))
    assert column(out, "dropped") == [None, None, "perplexity_tail"]
    assert float(column(out, "detail")[2]) == pytest.approx(column(out, "perplexity")[2], abs=0.1)


def test_unknown_buckets_and_cuts_out_of_order_are_refused(options):
    with pytest.raises(ConfigError, match="two rising shares"):
        perplexity.make(**options[0], cuts=(0.6, 0.3))
    with pytest.raises(ConfigError, match="buckets of"):
        perplexity.make(**options[0], drop_buckets=("tails",))
