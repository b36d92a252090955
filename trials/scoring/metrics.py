"""PSNR and SSIM of each image, in torch, with the peak always given and never guessed.

A near-black picture whose peak is taken from its own maximum is tens of decibels wrong, so `peak`
has no default. Protocols differ by up to 1.6 dB between papers: name the protocol with every
number.
"""

import torch
from torch import Tensor
from torch.nn import functional

from space import InputError

# Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004.
K1, K2 = 0.01, 0.03


def psnr_db(pred: Tensor, target: Tensor, *, peak: float) -> Tensor:
    """Peak signal-to-noise ratio in dB of each image (b c h w -> b); inf of identical ones.

    Float images are taken as they are: no rounding to 8 bits, all channels together. Raises
    InputError where the shapes differ or the peak is not positive.
    """
    check_images(pred, target, peak)
    error = (pred.double() - target.double()).square().mean(dim=(1, 2, 3))
    return 10.0 * torch.log10(peak * peak / error)


def ssim(pred: Tensor, target: Tensor, *, peak: float, window: str = "uniform7") -> Tensor:
    """Structural similarity of each image of a batch (b c h w -> b), the mean over channels.

    `window` is "uniform7" (7 x 7, unbiased covariance) or "gaussian11" (sigma 1.5, 11 x 11, as in
    Wang et al. 2004); both equal scikit-image's `structural_similarity` with those settings.
    Pixels whose window leaves the picture do not count. Raises InputError where shapes differ, the
    picture is smaller than the window or the window is unknown.
    """
    check_images(pred, target, peak)
    taps, unbias = ssim_window(window)
    if min(pred.shape[-2:]) < len(taps):
        size = f"{pred.shape[-2]} x {pred.shape[-1]}"
        raise InputError(
            f"SSIM needs at least {len(taps)} pixels a side, but got {size}; take a larger picture"
        )
    luminance, contrast = ssim_terms(pred.double(), target.double(), peak, taps, unbias)
    return (luminance * contrast).mean(dim=(1, 2, 3))


def ms_ssim(pred: Tensor, target: Tensor, *, peak: float) -> Tensor:
    """Multi-scale structural similarity of each image (b c h w -> b), differentiable.

    Wang, Simoncelli & Bovik, "Multi-scale Structural Similarity for Image Quality Assessment",
    2003. A crop too small for all five scales is scored on those that fit, their weights scaled to
    sum to one.
    """
    check_images(pred, target, peak)
    taps, unbias = ssim_window("gaussian11")
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    fitting = 1
    while fitting < len(weights) and min(pred.shape[-2:]) // 2**fitting >= len(taps):
        fitting += 1
    weights = [weight / sum(weights[:fitting]) for weight in weights[:fitting]]
    result = torch.ones((), device=pred.device)
    for scale, weight in enumerate(weights):
        luminance, contrast = ssim_terms(pred, target, peak, taps, unbias)
        last = scale == fitting - 1
        term = (luminance * contrast if last else contrast).mean(dim=(2, 3))
        # A negative similarity has no real power; next to zero the power's slope has no bound.
        result = result * term.clamp(min=1e-3) ** weight
        if not last:
            pred, target = functional.avg_pool2d(pred, 2), functional.avg_pool2d(target, 2)
    return result.mean(dim=1)


def ssim_window(name: str) -> tuple[Tensor, float]:
    """Taps of the separable window and the factor that makes its covariance unbiased."""
    if name == "uniform7":
        return torch.full((7,), 1 / 7), 49 / 48
    if name == "gaussian11":
        taps = torch.exp(-torch.arange(-5, 6).double().square() / (2 * 1.5**2))
        return taps / taps.sum(), 1.0
    raise InputError(
        f"the SSIM window must be uniform7 or gaussian11, but is {name!r}; choose one"
    )


def ssim_terms(
    pred: Tensor, target: Tensor, peak: float, taps: Tensor, unbias: float
) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure terms of every window, b c h' w'; `taps` on the CPU."""
    channels = pred.shape[1]
    pred, target = pred.contiguous(), target.contiguous()
    stack = torch.cat([pred, target, pred * pred, target * target, pred * target], dim=1)
    means = convolve(convolve(stack, taps, 2), taps, 3)
    x, y, xx, yy, xy = torch.split(means, channels, dim=1)
    variances = unbias * (xx - x * x + yy - y * y)
    covariance = unbias * (xy - x * y)
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    return (2 * x * y + c1) / (x * x + y * y + c1), (2 * covariance + c2) / (variances + c2)


def convolve(values: Tensor, taps: Tensor, dim: int) -> Tensor:
    """Valid convolution of `values` with `taps` along `dim`.

    Shifted sums: torch has no fast convolution in float64, and this takes a third of its time.
    """
    first, *others = (float(tap) for tap in taps)
    size = values.shape[dim] - len(others)
    total = values.narrow(dim, 0, size) * first
    for shift, tap in enumerate(others, 1):
        total.add_(values.narrow(dim, shift, size), alpha=tap)
    return total


def check_images(pred: Tensor, target: Tensor, peak: float) -> None:
    """Raises InputError unless both are b c h w of one shape and the peak is positive."""
    if pred.ndim != 4 or pred.shape != target.shape:
        shapes = f"{tuple(pred.shape)} and {tuple(target.shape)}"
        raise InputError(f"both images must be b c h w of one shape, but are {shapes}; crop one")
    if not peak > 0:
        raise InputError(f"the peak must be positive, but is {peak}; give 1.0 for [0, 1]")
