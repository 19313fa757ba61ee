"""Levels, silence, clipping and noise of signals whose measures follow from their formula."""

import numpy as np
import pytest

from data_pipelines.kernels.audio_quality import clipping, levels, signal_to_noise, silence

RATE = 8000
TIME = np.arange(RATE) / RATE


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 0.01])
def test_the_level_of_a_sine_is_that_of_its_power(amplitude):
    found = levels(amplitude * np.sin(2 * np.pi * 400 * TIME), RATE)
    assert found.shape == (50,)                                     # frames of 20 ms
    np.testing.assert_allclose(found, 20 * np.log10(amplitude) - 10 * np.log10(2), atol=0.01)


def test_silence_is_the_share_of_quiet_frames():
    samples = np.where(TIME < 0.3, 0.0, np.sin(2 * np.pi * 400 * TIME))
    assert silence(levels(samples, RATE)) == pytest.approx(0.3)
    assert silence(levels(np.zeros(0), RATE)) == 1.0
    assert levels(np.zeros(10), RATE).tolist() == [-100]


@pytest.mark.parametrize("samples, share", [
    ([0, 1, 1, 0], 0.5), ([1, 0, 1, 0], 0), ([-1, -1, 1, 1], 1), ([0.99, 0.99], 0), ([], 0)])
def test_clipping_counts_neighbours_at_full_scale(samples, share):
    assert clipping(np.array(samples, np.float32)) == share


def test_noise_is_what_pauses_hold():
    noise = 0.001 * np.random.default_rng(0).normal(size=RATE)
    speech = noise + np.where(TIME % 0.5 < 0.25, np.sin(2 * np.pi * 400 * TIME), 0)
    assert signal_to_noise(levels(speech, RATE)) == pytest.approx(57, abs=1)    # -3 less -60 dB
    assert signal_to_noise(levels(noise, RATE)) < 3
    assert signal_to_noise(np.zeros(0)) == 0
