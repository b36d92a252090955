"""Named protocols: which pictures count, and what is done to them before PSNR and SSIM.

Papers on the same data set differ by up to 1.6 dB by their protocol alone, so a score is only
worth its protocol's name. Common to all: PSNR over all pixels and channels of a picture with peak
1 (255 of 8 bits), SSIM as scikit-image has it (7 x 7 uniform, and 11 x 11 Gaussian) as the mean
over channels, and then the mean over pictures.

A new protocol is an entry of _TABLE.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from space import DarkUNet, InputError, NetworkInput, restore
from trials.data import Pair, Progress
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
_WINDOWS = "SSIM 7 x 7 uniform"


class Named(typing.Protocol):
    """What has the name of a picture."""

    @property
    def name(self) -> str: ...


class Picture(Named, typing.Protocol):
    """A pair that is loaded when it is scored: a real one, or a simulated one."""

    @property
    def scene(self) -> str: ...

    @property
    def ratio(self) -> float:
        """Exposure ratio, long over short; nan where it is not known."""
        ...

    def load(self, network_input: NetworkInput, device: str | torch.device = "cpu") -> Pair: ...


@dataclass(frozen=True)
class Protocol:
    """One way of scoring."""

    name: str
    description: str
    """For a table's title."""
    pixels: Literal["float", "truncated", "rounded"] = "float"
    """As they are, or both pictures in 8 bits, truncated or rounded."""
    gain: Literal["none", "picture", "channel"] = "none"
    """What the output is scaled by: truth's mean over output's mean, clipped at 1."""
    names: str = ".*"
    """A regular expression: the pictures that count."""
    per_ratio: bool = False
    """Whether each exposure ratio also has a mean of its own."""

    @property
    def preprocessing(self) -> tuple[str, str]:
        """What is done to the pixels; two protocols that do the same share their scores."""
        return self.pixels, self.gain

    def includes(self, picture: Named) -> bool:
        """Whether the picture counts."""
        return re.fullmatch(self.names, picture.name) is not None


_FLOAT = f"float pictures, peak 1, {_WINDOWS}"
_ALIGNED = f"brings the output's mean to the truth's, {_FLOAT}"
_TABLE = (
    Protocol("float", f"float pictures, PSNR with peak 1, {_WINDOWS}, mean over the pictures"),
    Protocol(
        "uint8",
        "both pictures truncated to 8 bits (as a cast to uint8 does), PSNR with peak 255, "
        f"{_WINDOWS}",
        pixels="truncated",
    ),
    Protocol(
        "uint8-rounded",
        "both pictures rounded to 8 bits (as SID's code saves its PNGs), PSNR with peak 255, "
        f"{_WINDOWS}",
        pixels="rounded",
    ),
    Protocol(
        "sid50",
        f"SID's {SID50_PICTURES} test pictures of 0.1 s (1*_00_0.1s), truncated to 8 bits, peak "
        f"255, {_WINDOWS}",
        pixels="truncated",
        names=r"1.*_00_0\.1s",
    ),
    Protocol(
        "all-ratios", f"every pair of the split, also by exposure ratio, {_FLOAT}", per_ratio=True
    ),
    Protocol("gain-aligned", f"one gain a picture {_ALIGNED}", gain="picture"),
    Protocol("colour-aligned", f"one gain a channel {_ALIGNED}", gain="channel"),
)
PROTOCOLS = {protocol.name: protocol for protocol in _TABLE}


def find_protocol(name: str) -> Protocol:
    """The protocol of that name. Raises InputError for an unknown one."""
    if name not in PROTOCOLS:
        raise InputError(
            f"a protocol must be one of {', '.join(PROTOCOLS)}, but got {name!r}; choose one"
        )
    return PROTOCOLS[name]


@dataclass(frozen=True, kw_only=True)
class PictureScore:
    """One picture's scores by one protocol."""

    name: str
    scene: str
    ratio: float
    """Exposure ratio, long over short, at most 300, rounded so that equal ones are equal."""
    psnr_db: float
    ssim: float
    """7 x 7 uniform windows."""
    ssim_gaussian11: float
    """11 x 11 Gaussian windows."""


@dataclass(frozen=True, kw_only=True)
class Restorer:
    """What turns an amplified mosaic (1 1 h w) into a picture (1 3 h w, [0, 1], float32)."""

    restore: Callable[[Tensor], Tensor]
    input: NetworkInput


def network_restorer(model: DarkUNet, network_input: NetworkInput) -> Restorer:
    """`model` as it is, in its own dtype and on its device."""
    dtype = next(model.parameters()).dtype
    return Restorer(
        restore=lambda mosaic: restore(model, mosaic.to(dtype)).float(),
        input=network_input,
    )


def baseline_restorer() -> Restorer:
    """Amplifying alone, with the camera's white balance: what a network must beat."""
    return Restorer(
        restore=amplified_only, input=NetworkInput(white_balanced=True, black_corrected=False)
    )


@torch.no_grad()
def score_pictures(
    restorers: Sequence[Restorer],
    pictures: Sequence[Picture],
    protocols: Sequence[Protocol],
    *,
    device: str = "cpu",
    on_progress: Progress | None = None,
) -> list[dict[str, list[PictureScore]]]:
    """Each restorer's scores by the protocols' names, in the order of the pictures that count.

    A picture is restored once by each restorer and scored once for all protocols that do the same
    to its pixels. Progress is reported as "restore", one step a picture and restorer.
    """
    names = [protocol.name for protocol in protocols]
    results: list[dict[str, list[PictureScore]]] = [
        {name: [] for name in names} for _ in restorers
    ]
    steps = len(pictures) * len(restorers)
    for index, picture in enumerate(pictures):
        including = [protocol for protocol in protocols if protocol.includes(picture)]
        distinct = {protocol.preprocessing: protocol for protocol in including}
        pairs: dict[NetworkInput, Pair] = {}
        for place, restorer in enumerate(restorers):
            if restorer.input not in pairs:
                pairs[restorer.input] = picture.load(restorer.input, device)
            pair = pairs[restorer.input]
            scores = {}
            if including:
                with DeviceLock(str(pair.mosaic.device)).shared():
                    output = restorer.restore(pair.mosaic)
                    for key, protocol in distinct.items():
                        scores[key] = PictureScore(
                            name=picture.name,
                            scene=picture.scene,
                            ratio=round(picture.ratio, 3),
                            **score(output, pair.target, protocol),
                        )
            for protocol in including:
                results[place][protocol.name].append(scores[protocol.preprocessing])
            if on_progress:
                on_progress("restore", index * len(restorers) + place + 1, steps, {})
    return results


def score(output: Tensor, truth: Tensor, protocol: Protocol) -> dict[str, float]:
    """psnr_db, ssim and ssim_gaussian11 of one picture, both 1 3 h w in [0, 1]."""
    output, truth = preprocess(output, truth, protocol)
    return {
        "psnr_db": float(psnr_db(output, truth, peak=1.0)),
        "ssim": ssim_in_bands(output, truth, "uniform7"),
        "ssim_gaussian11": ssim_in_bands(output, truth, "gaussian11"),
    }


def preprocess(output: Tensor, truth: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    """Output and truth (b 3 h w in [0, 1]) as the protocol compares them; 8 bits are n / 255."""
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
    # would often lie just below its whole number and be truncated to the one before.
    bits = (step(image.clamp(0, 1).float() * 255).double() / 255 for image in (output, truth))
    output, truth = bits
    return output, truth


def ssim_in_bands(output: Tensor, truth: Tensor, window: str) -> float:
    """`metrics.ssim` of one picture in bands of rows: the same mean in less memory."""
    reach = len(ssim_window(window)[0]) - 1
    rows = output.shape[-2] - reach
    if rows <= _BAND_ROWS:
        return float(ssim(output, truth, peak=1.0, window=window))
    total = 0.0
    for top in range(0, rows, _BAND_ROWS):
        count = min(_BAND_ROWS, rows - top)
        bands = (image[..., top : top + count + reach, :] for image in (output, truth))
        total += count * float(ssim(*bands, peak=1.0, window=window))
    return total / rows
