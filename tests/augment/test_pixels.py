"""Pixel values, the same on host and device."""

import jax.numpy as jnp
import numpy as np

from ssljax.augment.pixels import standardise, to_unit

BYTES = np.arange(0, 255, 17, dtype=np.uint8).reshape(1, 5, 3)


def test_bytes_become_fractions():
    unit = to_unit(BYTES)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, BYTES / 255, rtol=1e-6)


def test_host_and_device_agree_to_a_rounding():
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    host = standardise(to_unit(BYTES), mean, std)
    device = standardise(to_unit(jnp.asarray(BYTES)), mean, std)
    assert isinstance(host, np.ndarray)
    assert host.dtype == np.float32
    np.testing.assert_allclose(host, device, rtol=1e-6)
    np.testing.assert_allclose(host, (BYTES / 255 - mean) / std, rtol=1e-5, atol=1e-6)
