"""PSNR and SSIM against scikit-image, and the properties they must have."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from space import InputError
from trials import psnr_db, ssim
from trials.scoring.metrics import ms_ssim

WINDOWS = {
    "uniform7": {"win_size": 7},
    "gaussian11": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
}
IMAGES = st.builds(
    lambda seed, height, width, spread: noisy_pair(seed, height, width, spread),
    seed=st.integers(0, 10_000),
    height=st.integers(11, 40),
    width=st.integers(11, 40),
    spread=st.sampled_from([0.003, 0.05, 0.5]),
)


def noisy_pair(seed, height, width, spread):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(2, 3, height, width, generator=generator)
    return target + spread * torch.randn(target.shape, generator=generator), target


@settings(max_examples=25, deadline=None)
@given(IMAGES, st.sampled_from([1.0, 255.0]))
def test_psnr_is_scikit_images(pair, peak):
    pred, target = pair
    ours = psnr_db(pred, target, peak=peak)
    for index in range(2):
        theirs = peak_signal_noise_ratio(
            target[index].double().numpy(), pred[index].double().numpy(), data_range=peak
        )
        assert float(ours[index]) == pytest.approx(theirs, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(IMAGES, st.sampled_from(["uniform7", "gaussian11"]))
def test_ssim_is_scikit_images(pair, window):
    pred, target = pair
    ours = ssim(pred, target, peak=1.0, window=window)
    for index in range(2):
        theirs = structural_similarity(
            target[index].double().numpy(),
            pred[index].double().numpy(),
            data_range=1.0,
            channel_axis=0,
            **WINDOWS[window],
        )
        assert float(ours[index]) == pytest.approx(theirs, abs=1e-4)


def test_identical_pictures():
    picture = torch.rand(1, 3, 16, 16)
    assert psnr_db(picture, picture, peak=1.0).item() == math.inf
    assert ssim(picture, picture, peak=1.0).item() == pytest.approx(1.0)
    assert ms_ssim(picture, picture, peak=1.0).item() == pytest.approx(1.0, abs=1e-6)


def test_psnr_of_a_known_error():
    target = torch.zeros(1, 3, 8, 8)
    assert psnr_db(target + 0.1, target, peak=1.0).item() == pytest.approx(20.0, abs=1e-5)


def test_a_near_black_picture_keeps_the_given_peak():
    target = torch.full((1, 3, 8, 8), 0.004)
    assert psnr_db(target + 0.001, target, peak=1.0).item() == pytest.approx(60.0, abs=1e-3)


@pytest.mark.parametrize("size", [12, 40, 200])
def test_ms_ssim_falls_with_noise_and_has_gradients(size):
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(1, 3, size, size, generator=generator)
    noise = torch.randn(target.shape, generator=generator)
    spreads = (0.0, 0.05, 0.2, 1.0)
    scores = [float(ms_ssim(target + spread * noise, target, peak=1.0)) for spread in spreads]
    assert scores == sorted(scores, reverse=True)
    # Also where the two are far apart, or equal.
    for start in (1 - target, target.clone(), torch.zeros_like(target)):
        pred = start.requires_grad_()
        ms_ssim(pred, target, peak=1.0).sum().backward()
        assert pred.grad is not None and bool(torch.isfinite(pred.grad).all())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda a: psnr_db(a, a[..., :-2], peak=1.0), "one shape"),
        (lambda a: psnr_db(a, a, peak=0.0), "peak must be positive"),
        (lambda a: psnr_db(a, a, peak=math.nan), "peak must be positive"),
        (lambda a: ssim(a, a, peak=1.0, window="box"), "uniform7 or gaussian11"),
        (lambda a: ssim(a[..., :5], a[..., :5], peak=1.0), "at least 7 pixels"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(InputError, match=words) as caught:
        call(torch.rand(1, 3, 16, 16))
    assert "\n" not in str(caught.value)


def test_scores_do_not_depend_on_the_batch():
    pred, target = noisy_pair(3, 32, 24, 0.1)
    for metric in (psnr_db, ssim):
        alone = torch.cat([metric(pred[i : i + 1], target[i : i + 1], peak=1.0) for i in range(2)])
        assert np.allclose(metric(pred, target, peak=1.0), alone)
