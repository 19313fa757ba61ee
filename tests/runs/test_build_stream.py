"""From a config to its stream: mixtures, packing, caches, and data that changed under a run."""

import copy

import ml_collections
import numpy as np
import pytest

from ssljax.core.config import resolve
from ssljax.core.errors import ArtefactError, CheckpointError, ConfigError
from ssljax.runs.build import build_stream, cache_folder
from ssljax.runs.config import check_run, to_plain
from ssljax.runs.export import tokenizer_file
from ssljax.runs.workdir import check_same_data
from ssljax.tokenizers import byte
from tests.runs.test_config import plain
from tests.sources.test_token_shards import write_dataset

SEQ_LEN = 16


def dataset(folder, *, seed, version="v1", tokenizer=None):
    folder.mkdir(exist_ok=True)
    r = np.random.default_rng(seed)
    documents = [r.integers(0, 256, n).tolist() for n in r.integers(1, 40, 60)]
    path = write_dataset(folder, {"train": [documents]}, vocab_size=257, version=version)
    (folder / "tokenizer.json").write_text(tokenizer or byte.definition())
    return path


@pytest.fixture
def config(tmp_path):
    """Return a run over two datasets whose weights change at step 5, one of them filtered."""
    shards = {"name": "token_shards", "split": "train", "verify": "size"}
    web = {"name": "filtered", "filter": {"name": "length", "least": 4},
           "source": {**shards, "path": dataset(tmp_path / "web", seed=0)}}
    code = {**shards, "path": dataset(tmp_path / "code", seed=1)}
    source = {"name": "mixture", "parts": {"web": {"source": web, "weight": 3},
                                           "code": {"source": code, "weight": 1}},
              "stages": [{"step": 5, "weights": {"code": 1.0}}]}
    return plain() | {"source": source, "batch_size": 4, "cache": str(tmp_path / "cache"),
                      "pretext": {"name": "next_token", "seq_len": SEQ_LEN}, "evals": {}}


def stream_of(config):
    return build_stream(config, resolve("pretext", config["pretext"]))


def test_a_mixture_is_a_valid_config_and_changes_its_weights(config):
    check_run(to_plain(ml_collections.ConfigDict(config)))
    stream = stream_of(config)
    part, _ = stream.schedule.rows(0, 40)
    assert np.bincount(part[:20]).tolist() == [15, 5] and (part[20:] == 1).all()
    assert stream.host_rows(0, 0, 1)["tokens"].shape == (4, SEQ_LEN)
    again = stream_of(config)
    assert np.array_equal(again.host_rows(7, 0, 1)["tokens"], stream.host_rows(7, 0, 1)["tokens"])


@pytest.mark.parametrize("path, value, says", [
    (("source", "parts", "web", "wieght"), 1, r"expected mapping of \{source: Source, weight: flo"),
    (("source", "parts", "web", "weight"), "much", "parts = .* is a dict; expected mapping of"),
    (("source", "parts", "web", "source", "filter", "name"), "lenght", 'did you mean "length"'),
    (("source", "parts", "web", "source", "filter", "least"), 1.5, "least = 1.5 is a float; exp"),
    (("source", "parts", "web", "source", "cache"), "x", "cache is set by the run itself"),
    (("source", "stages"), [{"stp": 5}], r"expected sequence of \{step: int, weights: mapping of"),
    (("packing",), "bestfit", "packing = 'bestfit'; expected .*best_fit.*concatenate"),
    (("cache",), 1, "cache = 1; expected str")])
def test_a_wrong_spec_at_any_depth_is_refused_before_data_is_read(path, value, says, config):
    wrong = at = copy.deepcopy(config)
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(ConfigError, match=says):
        check_run(wrong)


@pytest.mark.parametrize("stages, says", [
    ([{"step": 5, "weights": {"wbe": 1}}], 'names the part "wbe"; did you mean "web"'),
    ([{"step": 0, "weights": {"web": 1}}], "step 0 after step 0"),
    ([{"step": 5, "weights": {"web": 0}}], "step 5 has no weight above 0"),
    ([{"step": 5, "weights": {"web": -1}}], 'gives "web" the weight -1'),
    ([{"step": 5, "weights": {"web": 1, "code": 1e-9}}], "too small")])
def test_weights_that_cannot_be_are_refused(stages, says, config):
    config["source"]["stages"] = stages
    with pytest.raises(ConfigError, match=says):
        stream_of(config)


def test_a_mixture_within_another_source_is_refused(config):
    for outer in ({"name": "filtered", "filter": {"name": "length", "least": 1},
                   "source": config["source"]},
                  {"name": "mixture", "parts": {"all": {"source": config["source"], "weight": 1}}},
                  {"name": "materialised", "version": "1", "stream": config["source"]}):
        with pytest.raises(ConfigError, match="holds a mixture, whose weights would be lost"):
            stream_of(config | {"source": outer})


def test_parts_with_different_tokenizers_are_refused(config, tmp_path):
    other = byte.definition().replace('"version": "1.0"', '"version":  "1.0"')
    dataset(tmp_path / "code", seed=1, tokenizer=other)
    with pytest.raises(ConfigError, match='"web" and "code" of the mixture have different tokeniz'):
        stream_of(config)


def test_tokens_nobody_explains_are_refused(config, tmp_path):
    np.save(tmp_path / "tokens.npy", np.ones((3, 5), np.int32))
    config["source"] = {"name": "arrays", "path": str(tmp_path)}
    with pytest.raises(ConfigError, match="does not say which tokenizer made its tokens"):
        stream_of(config)
    config["source"]["tokenizer_path"] = str(tmp_path / "web" / "tokenizer.json")
    assert stream_of(config).host_rows(0, 0, 1)["tokens"].shape == (4, SEQ_LEN)


def test_concatenation_is_a_word_in_the_config(config):
    best, joined = stream_of(config), stream_of(config | {"packing": "concatenate"})
    fill = [s.parts["code"].plan.fill(SEQ_LEN) for s in (best, joined)]
    assert fill[1] > fill[0] and best.fingerprint() != joined.fingerprint()


def differences(config, change):
    """Return the names in the error of a run that goes on after `change` of its data or config."""
    before = stream_of(config).fingerprint()
    changed = change(copy.deepcopy(config)) or config
    with pytest.raises(CheckpointError) as caught:
        check_same_data(before, stream_of(changed).fingerprint())
    lines = str(caught.value).splitlines()[1:-1]
    return {line.strip().partition(": ")[0] for line in lines}


def test_what_changed_under_a_run_is_listed_field_by_field(config, tmp_path):
    def other_content(c):
        dataset(tmp_path / "code", seed=2, version="v2")

    def other_filter(c):
        c["source"]["parts"]["web"]["source"]["filter"]["least"] = 9
        return c

    def other_weights(c):
        c["source"]["stages"][0]["weights"]["web"] = 1.0
        return c

    def other_tokenizer(c):
        for name in ("web", "code"):
            file = tmp_path / name / "manifest.json"
            file.write_text(file.read_text().replace('"tok"', '"other"'))

    assert differences(config, other_weights) == {"stage.20"}
    assert differences(config, other_filter) == {"web.filter", "web.kept"}
    assert differences(config, lambda c: c | {"packing": "concatenate"}) == {
        "web.packing", "code.packing"}
    assert differences(config, lambda c: c | {"seed": 1}) == {
        "seed", "web.packing_seed", "code.packing_seed"}
    assert differences(config, other_content) == {"code.version"}
    assert differences(config, other_tokenizer) == {"tokenizer"}


def test_a_changed_recipe_is_noticed_though_the_content_is_equal(config, tmp_path):
    def other_recipe(c):
        file = tmp_path / "web" / "manifest.json"
        file.write_text(file.read_text().replace('"recipe_hash": "r"', '"recipe_hash": "s"'))

    assert differences(config, other_recipe) == {"web.recipe"}


def test_the_tokenizer_of_an_artefact_is_found_in_the_parts(config, tmp_path):
    assert tokenizer_file(config["source"]) == str(tmp_path / "web" / "tokenizer.json")
    bpe = {"name": "tokenised", "source": {"name": "parquet", "path": "texts"},
           "tokenizer": {"name": "bpe", "path": "t.json"}}
    assert tokenizer_file(bpe) == "t.json"
    assert tokenizer_file({"name": "arrays", "path": "x", "tokenizer_path": "u.json"}) == "u.json"
    with pytest.raises(ArtefactError, match="names no tokenizer.json"):
        tokenizer_file({"name": "seqio", "task": "t", "module": "m", "version": "1"})


def test_the_cache_is_the_configs_or_the_users(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder({}) == "/somewhere/ssljax"
    assert cache_folder({"cache": "/here"}) == "/here"
