"""One crop: all of the image unless told, and back to pixels."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.pretext import crop

IMAGE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
RECORD = {"id": np.zeros(2, np.uint32), "image": IMAGE}


def view(pretext, seed=0, image=IMAGE):
    return np.asarray(jax.jit(pretext.views)(jax.random.key(seed), {"image": image})["image"])


def test_the_whole_image_is_the_plain_one_and_renders_as_it_was():
    pretext = crop.make(size=8, flip_probability=0.0)
    made = view(pretext)
    np.testing.assert_allclose(made, pretext.plain(RECORD)["image"], atol=1e-6)
    np.testing.assert_allclose(pretext.render({"image": jnp.asarray(made)}), IMAGE / 255, atol=1e-6)


def test_crops_differ_by_key_where_areas_are_given():
    pretext = crop.make(size=4, source_size=8, min_area=0.3)
    assert view(pretext).shape == (4, 4, 3)
    assert np.abs(view(pretext) - view(pretext, seed=1)).max() > 0.1


def test_a_crop_made_on_the_host_is_left_alone():
    pretext = crop.make(size=4, min_area=0.3, host_crop="random", flip_probability=0.0)
    example = pretext.example(RECORD, np.random.default_rng(0))
    assert example["image"].shape == pretext.spec["image"][0] == (4, 4, 3)
    np.testing.assert_allclose(view(pretext, image=example["image"]),
                               example["image"] / 127.5 - 1, atol=1e-6)
