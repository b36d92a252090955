"""A developed photo back to the light that a camera saw: the inverse of `raw.colour.develop`.

After Brooks et al., "Unprocessing Images for Learned Raw Denoising" (CVPR 2019), section 3: the
tone curve and the colour matrix are inverted, and highlights stay highlights. What differs: white
balance, mosaic and noise are the simulated camera's business, which draws them for every sample;
and since it also exposes a scene anew, mostly darker, a highlight can't just stay white (their
equation for gains below one): its light is raised, so that it clips again at most exposures.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trials.raw.colour import ALPHA, POWER, SLOPE, TOE, apply_matrix

# Grey value in linear light (white = 1) above which a pixel counts as a highlight, as theirs.
HIGHLIGHT = 0.9
# How many times more light a white pixel had than the photo shows: one stop. It makes the steps
# of 8 bits below white wider too, and two stops made JPEG's blocks visible in pale skies.
HEADROOM = 2.0


def linear_light(display: Tensor) -> Tensor:
    """The inverse of `raw.colour.tone`: display values in [0, 1] to linear light in [0, 1]."""
    curved = display.clamp(min=SLOPE * TOE).add(ALPHA - 1.0).div(ALPHA).pow(1.0 / POWER)
    return torch.where(display < SLOPE * TOE, display / SLOPE, curved)


def unprocess(photo: Tensor, camera_to_srgb: Tensor) -> tuple[Tensor, float]:
    """The scene of a photo (3 h w, sRGB in [0, 1]), and the exposure that gives the photo again.

    As `to_scene`; where nothing is a highlight, `raw.colour.develop` of scene times exposure is
    the photo. `camera_to_srgb` (3 x 3) is the camera's, its rows adding up to one.
    """
    return to_scene(linear_light(photo), camera_to_srgb)


def to_scene(linear: Tensor, camera_to_srgb: Tensor) -> tuple[Tensor, float]:
    """The scene of linear sRGB (3 h w, [0, 1]), and the mean green that it was divided by.

    A scene is linear white-balanced camera RGB (3 h w, at least 0) whose green had a mean of one
    before the highlights were raised: lamps must not darken the rest.
    """
    inverse = torch.linalg.inv(camera_to_srgb.double()).to(linear.dtype)
    camera = apply_matrix(linear[None], inverse)[0].clamp_(min=0.0)
    exposure = max(float(camera[1].mean()), 1e-6)
    excess = (linear.mean(dim=0) - HIGHLIGHT).clamp_(min=0.0) / (1.0 - HIGHLIGHT)
    # One factor for the three colours, so that a highlight keeps its hue.
    return camera * (1.0 + (HEADROOM - 1.0) * excess.square()) / exposure, exposure
