"""Named protocols: which pictures count, and what is done to them before PSNR and SSIM.

Papers on the same data set differ by up to 1.6 dB by their protocol alone, so a score is only
worth its protocol's name. Common to all: PSNR over all pixels and channels of a picture with peak
1 (255 of 8 bits), SSIM as scikit-image has it (7 x 7 uniform, and 11 x 11 Gaussian) as the mean
over channels, and then the mean over pictures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol as Interface

import torch
from torch import Tensor

from space import DarkUNet, InputError, restore
from trials.data.pair import Pair, Progress
from trials.device.lock import DeviceLock
from trials.scoring.baseline import amplified_only
from trials.scoring.metrics import psnr_db, ssim, ssim_window

# Test scenes whose dark photo and ground truth are out of register, by SID's authors' own account.
MISALIGNED_SCENES = ("10034", "10045", "10172")
SID50_PICTURES = 50
# Rows of SSIM's windows that are worked on at once: in double precision a whole 12-megapixel
# picture would need several GiB, and on a CPU small bands stay in the cache (one such picture,
# both windows: 8 s instead of 24 s).
_BAND_ROWS = 32


class Named(Interface):
    """What a protocol chooses by: a row of a list, or a decoded picture."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way of scoring."""

    name: str
    says: str
    """The protocol in words, for a table's title."""
    pixels: str = "float"
    """"float": as they are; "truncated" or "rounded": both pictures in 8 bits, cut down or
    rounded.
    """
    gain: str = "none"
    """What the output is scaled by: "none"; "picture" or "channel": truth's mean over output's
    mean, cut off at 1.
    """
    names: str = ".*"
    """A regular expression: the pictures that count."""
    per_ratio: bool = False
    """Whether each exposure ratio is also told by itself."""

    @property
    def wants(self) -> tuple[str, str]:
        """What is done to the pixels; two protocols that want the same share their scores."""
        return self.pixels, self.gain

    def holds(self, picture: Named) -> bool:
        """Whether the picture counts."""
        return re.fullmatch(self.names, picture.name) is not None


_WINDOWS = "SSIM 7 x 7 uniform"
PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="float",
            says=f"float pictures, PSNR with peak 1, {_WINDOWS}, mean over the pictures",
        ),
        Protocol(
            name="uint8",
            pixels="truncated",
            says=f"both pictures truncated to 8 bits (as a cast to uint8 does), PSNR with peak "
            f"255, {_WINDOWS}",
        ),
        Protocol(
            name="uint8-rounded",
            pixels="rounded",
            says=f"both pictures rounded to 8 bits (as SID's code saves its PNGs), PSNR with "
            f"peak 255, {_WINDOWS}",
        ),
        Protocol(
            name="sid50",
            pixels="truncated",
            names=r"1.*_00_0\.1s",
            says=f"SID's {SID50_PICTURES} test pictures of 0.1 s (1*_00_0.1s), truncated to 8 "
            f"bits, peak 255, {_WINDOWS}",
        ),
        Protocol(
            name="all-ratios",
            per_ratio=True,
            says=f"every pair of the split, also by exposure ratio, float pictures, peak 1, "
            f"{_WINDOWS}",
        ),
        Protocol(
            name="gain-aligned",
            gain="picture",
            says=f"one gain a picture brings the output's mean to the truth's, float pictures, "
            f"peak 1, {_WINDOWS}",
        ),
        Protocol(
            name="colour-aligned",
            gain="channel",
            says=f"one gain a channel brings the output's mean to the truth's, float pictures, "
            f"peak 1, {_WINDOWS}",
        ),
    )
}


def find_protocol(name: str) -> Protocol:
    """The protocol of that name. Raises InputError for an unknown one."""
    if name not in PROTOCOLS:
        raise InputError(
            f"a protocol must be one of {', '.join(PROTOCOLS)}, but got {name!r}; choose "
            f"one of them"
        )
    return PROTOCOLS[name]


@dataclass(frozen=True, kw_only=True)
class PictureScore:
    """One picture's scores by one protocol; `ssim` is 7 x 7 uniform, `ssim_gaussian11` 11 x 11
    Gaussian.
    """

    name: str
    scene: str
    ratio: float
    psnr_db: float
    ssim: float
    ssim_gaussian11: float


class Judged(Interface):
    """A picture to be judged on: see `trials.scoring.pictures.Picture`."""

    @property
    def name(self) -> str: ...
    @property
    def scene(self) -> str: ...
    @property
    def ratio(self) -> float: ...
    def pair(self, white_balanced_input: bool) -> Pair: ...


@dataclass(frozen=True, kw_only=True)
class Restorer:
    """What turns an amplified mosaic (1 1 h w) into a picture (1 3 h w, [0, 1], float32), and the
    input it wants.
    """

    restore: Callable[[Tensor], Tensor]
    white_balanced_input: bool


def network_restorer(model: DarkUNet, *, white_balanced_input: bool) -> Restorer:
    """`model` as it is, in its own dtype and on its device."""
    dtype = next(model.parameters()).dtype
    return Restorer(
        restore=lambda mosaic: restore(model, mosaic.to(dtype)).float(),
        white_balanced_input=white_balanced_input,
    )


def baseline_restorer() -> Restorer:
    """Amplifying alone, with the camera's white balance: what a network must beat."""
    return Restorer(restore=amplified_only, white_balanced_input=True)


@torch.no_grad()
def judge(
    restorers: Sequence[Restorer],
    pictures: Sequence[Judged],
    protocols: Sequence[Protocol],
    *,
    on_progress: Progress | None = None,
) -> list[dict[str, list[PictureScore]]]:
    """Each restorer's scores by the protocols' names, in the order of the pictures that the
    protocol holds.

    A picture is restored once by each restorer and scored once for all protocols that want the
    same of its pixels. Progress is told as "restore", one step a picture and restorer.
    """
    results: list[dict[str, list[PictureScore]]] = [
        {p.name: [] for p in protocols} for _ in restorers
    ]
    steps = len(pictures) * len(restorers)
    for index, picture in enumerate(pictures):
        holding = [protocol for protocol in protocols if protocol.holds(picture)]
        pairs: dict[bool, Pair] = {}
        for place, restorer in enumerate(restorers):
            if restorer.white_balanced_input not in pairs:
                pairs[restorer.white_balanced_input] = picture.pair(restorer.white_balanced_input)
            pair = pairs[restorer.white_balanced_input]
            scores: dict[tuple[str, str], dict[str, float]] = {}
            if holding:
                with DeviceLock(str(pair.mosaic.device)).shared():
                    output = restorer.restore(pair.mosaic)
                    scores = {
                        p.wants: score(output, pair.target, p)
                        for p in {p.wants: p for p in holding}.values()
                    }
            for protocol in holding:
                results[place][protocol.name].append(
                    PictureScore(
                        name=picture.name,
                        scene=picture.scene,
                        ratio=picture.ratio,
                        **scores[protocol.wants],
                    )
                )
            if on_progress:
                on_progress("restore", index * len(restorers) + place + 1, steps, {})
    return results


def score(output: Tensor, truth: Tensor, protocol: Protocol) -> dict[str, float]:
    """psnr_db, ssim and ssim_gaussian11 of one picture (both 1 3 h w in [0, 1]) by the protocol."""
    output, truth = as_judged(output, truth, protocol)
    return {
        "psnr_db": float(psnr_db(output, truth, peak=1.0)),
        "ssim": ssim_in_bands(output, truth, "uniform7"),
        "ssim_gaussian11": ssim_in_bands(output, truth, "gaussian11"),
    }


def as_judged(output: Tensor, truth: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    """Output and truth (b 3 h w in [0, 1]) as the protocol compares them; 8-bit pictures come back
    as n / 255.
    """
    if protocol.gain != "none":
        axes = (1, 2, 3) if protocol.gain == "picture" else (2, 3)
        ours, theirs = (image.double().mean(dim=axes, keepdim=True) for image in (output, truth))
        # A black output stays black: no gain brings it to the truth's mean.
        gain = torch.where(ours > 0, theirs / ours, 1.0)
        output = (output * gain.to(output.dtype)).clamp(max=1.0)
    if protocol.pixels == "float":
        return output, truth
    step = torch.floor if protocol.pixels == "truncated" else torch.round
    # Times 255 in float32, as the field does: of a truth that was 8 bits once, the exact product
    # would often lie just below its whole number and be cut down to the one before.
    first, second = (
        step(image.clamp(0, 1).float() * 255).double() / 255 for image in (output, truth)
    )
    return first, second


def ssim_in_bands(output: Tensor, truth: Tensor, window: str) -> float:
    """`metrics.ssim` of one picture, worked on in bands of rows: the same mean, without the memory
    of a whole one.
    """
    reach = len(ssim_window(window)[0]) - 1
    rows = output.shape[-2] - reach
    if rows <= _BAND_ROWS:
        return float(ssim(output, truth, peak=1.0, window=window))
    total = 0.0
    for top in range(0, rows, _BAND_ROWS):
        high = min(_BAND_ROWS, rows - top)
        part = slice(top, top + high + reach)
        total += high * float(
            ssim(output[..., part, :], truth[..., part, :], peak=1.0, window=window)
        )
    return total / rows
