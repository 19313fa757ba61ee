"""Random resized crops against Pillow's antialiased resize."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.augment.crop import centre_box, crop_resize, random_box

IMAGE = np.random.default_rng(0).random((12, 17, 3)).astype(np.float32)


def cropped(box, size, method="bilinear", image=IMAGE):
    return np.asarray(crop_resize(jnp.asarray(image), jnp.asarray(box, jnp.float32), size=size,
                                  method=method))


@pytest.mark.parametrize("method", ["bilinear", "cubic"])
def test_the_whole_square_at_its_own_size_is_the_identity(method):
    square = IMAGE[:, :12]
    np.testing.assert_allclose(cropped([0, 0, 12, 12], 12, method, square), square, atol=1e-5)


def test_a_box_of_whole_pixels_at_its_own_size_is_a_slice():
    np.testing.assert_allclose(cropped([3, 5, 6, 6], 6), IMAGE[3:9, 5:11], atol=1e-5)


@pytest.mark.parametrize("size", [5, 9, 20])
@pytest.mark.parametrize("box", [(0, 0, 12, 17), (2, 3, 7, 9), (1.25, 4.5, 9.3, 8.1)])
def test_equals_pillow(box, size):
    pillow = pytest.importorskip("PIL.Image")
    top, left, height, width = box
    expected = [np.asarray(pillow.fromarray(IMAGE[..., c]).resize(
        (size, size), pillow.Resampling.BILINEAR, box=(left, top, left + width, top + height)))
        for c in range(3)]
    np.testing.assert_allclose(cropped(box, size), np.stack(expected, -1), atol=1e-4)


def test_upsampling_equals_the_two_nearest_pixels_weighed_by_distance():
    row = np.array([0.0, 1, 4, 9], np.float32).reshape(1, 4, 1).repeat(4, axis=0)
    centres = (np.arange(8) + 0.5) / 2 - 0.5                    # of new pixels, in old ones
    expected = np.interp(centres, np.arange(4), [0, 1, 4, 9])
    np.testing.assert_allclose(cropped([0, 0, 4, 4], 8, image=row)[3, :, 0], expected, atol=1e-5)


def test_random_boxes_lie_inside_and_have_the_asked_area_and_aspect():
    keys = jax.random.split(jax.random.key(0), 500)
    boxes = np.asarray(jax.vmap(lambda k: random_box(k, 40, 40, min_area=0.2, max_area=0.5))(keys))
    top, left, height, width = boxes.T
    assert boxes.min() >= 0
    assert (top + height).max() <= 40 + 1e-4
    assert (left + width).max() <= 40 + 1e-4
    area, aspect = height * width / 1600, width / height
    assert 0.2 - 1e-4 < area.min() < 0.22
    assert 0.48 < area.max() < 0.5 + 1e-4
    assert 0.75 - 1e-4 < aspect.min() < 0.77
    assert 1.31 < aspect.max() < 4 / 3 + 1e-4
    assert abs(np.mean(area) - 0.35) < 0.02
    assert abs(np.mean(np.log(aspect))) < 0.02


def test_sides_of_a_box_that_does_not_fit_are_clipped():
    keys = jax.random.split(jax.random.key(1), 100)
    boxes = jax.vmap(lambda k: random_box(k, 8, 8, min_area=1.0))(keys)
    assert boxes[:, 2:].max() == 8
    assert np.all((boxes[:, 2] == 8) | (boxes[:, 3] == 8))


def test_centre_box_is_the_largest_centred_square():
    assert centre_box(12, 17).tolist() == [0, 2.5, 12, 12]
    assert centre_box(17, 12).tolist() == [2.5, 0, 12, 12]
