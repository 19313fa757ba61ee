"""Recipes: mistakes are found before anything is read."""

import sysconfig

import pytest

from data_pipelines.recipe import hash_plain, identity, read_recipe, resolve_steps, resolve_target
from data_pipelines.text import get_config
from ssljax.core.errors import ConfigError
from ssljax.runs.config import to_plain


def plain(**changes):
    return to_plain(get_config()) | changes


def test_the_recipe_file_is_a_recipe_of_known_steps():
    recipe = read_recipe(plain())
    assert [name for name, _ in resolve_steps(recipe)] == [
        "read_files", "normalise", "quality", "exact_duplicates", "near_duplicates", "split"]


def test_the_recipe_file_spells_out_the_defaults_of_its_steps():
    import inspect

    from data_pipelines.steps import near_duplicates, quality
    options = plain()["options"]
    for step, make in (("quality", quality.make), ("near_duplicates", near_duplicates.make)):
        defaults = {n: p.default for n, p in inspect.signature(make).parameters.items()}
        assert options[step].items() <= defaults.items()
    assert options["quality"].keys() == inspect.signature(quality.make).parameters.keys()


def test_without_an_input_the_standard_library_is_read_under_its_licence():
    recipe = read_recipe(plain())
    assert (recipe.input, recipe.licence) == (sysconfig.get_path("stdlib"), "PSF-2.0")
    assert read_recipe(plain(input=sysconfig.get_path("stdlib"))) == recipe
    assert read_recipe(plain(input="somewhere")).licence == "unknown"


@pytest.mark.parametrize("changes, says", [
    ({"vocabsize": 5}, 'recipe has no option "vocabsize"; did you mean "vocab_size"'),
    ({"vocab_size": "many"}, "expected int"), ({"vocab_size": 100}, "expected at least 257"),
    ({"shard_tokens": 0}, "expected at least 1"), ({"output": ""}, "one is empty"),
    ({"steps": [{"name": "qualty"}], "options": {}}, 'did you mean "quality"'),
    ({"steps": [{}], "options": {}}, 'has no "name"'),
    ({"options": {"qualify": {}}}, 'no step of the recipe; did you mean "quality"'),
    ({"options": {"quality": {"min_word": 3}}}, 'no option "min_word"'),
    ({"options": {"quality": {"min_words": "few"}}}, "expected int"),
    ({"validation_fraction": 1.5}, "validation_fraction 1.5"), ({"steps": ()}, "one is empty"),
    ({"target": {"name": "parqet"}}, 'did you mean "parquet"'),
    ({"target": {"name": "parquet", "shard_bytes": 0}}, "shard_bytes 0")])
def test_a_mistake_is_named_before_anything_is_read(changes, says):
    with pytest.raises(ConfigError, match=says):
        recipe = read_recipe(plain(**changes))
        resolve_target(recipe)
        resolve_steps(recipe)


def test_a_missing_field_is_named():
    config = plain()
    del config["steps"]
    with pytest.raises(ConfigError, match='needs "steps"'):
        read_recipe(config)


def test_the_identity_is_of_what_is_made_and_not_of_where():
    def hashed(**changes):
        return hash_plain(identity(read_recipe(plain(**changes))))
    assert hashed(input="a", output="b") == hashed(input="c", output="d")
    assert hashed(input="a") != hashed(input="a", vocab_size=5000)
    assert hashed(input="a") != hashed(input="a", options={"quality": {"min_words": 3}})
