"""Colours of surfaces: what a scene's things are made of.

A surface has a class (concrete, earth, skin, leaves, paint ...), and its class the ranges of hue
and chroma in CIELAB. Natural surfaces vary along yellow and blue ten times as much as along green
and red, in the logarithm (Ruderman, Cronin & Chiao, "Statistics of cone responses to natural
images", JOSA A, 1998: deviations of 0.073 and 0.0075 beside 0.35 of brightness), which is what
neutrals, earth and sky are here; leaves and what people paint, print and dye have all other hues.
Skin is that of Xiao et al., "Characterising the variations in ethnic skin colours", 2017: hues of
50 to 60 degrees, chroma about 20. How chromatic a photo is on the whole lies between "slightly"
and "quite" colourful of Hasler & Suesstrunk, "Measuring colourfulness in natural images", 2003.
The shares of the classes are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = NDArray[np.float64]
"""Red, green, blue: linear light in sRGB primaries, luminance 1."""

# IEC 61966-2-1: linear sRGB from XYZ, and the white that CIELAB is relative to, D65.
XYZ_TO_SRGB = np.array(
    [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
)
WHITE = np.array([0.9505, 1.0, 1.0890])
# No real surface swallows a primary altogether.
DARKEST_CHANNEL = 0.01


@dataclass(frozen=True)
class Material:
    """A class of surfaces: hue in degrees, normal; chroma log-normal."""

    name: str
    share: float
    hue: float | None  # None: any
    hue_deviation: float
    chroma: float  # median
    chroma_deviation: float  # of the logarithm


MATERIALS = (
    Material("concrete, asphalt, plaster, metal, white paint", 0.38, 80.0, 60.0, 3.0, 0.7),
    Material("earth, wood, brick, stone", 0.17, 65.0, 14.0, 17.0, 0.5),
    Material("skin", 0.03, 55.0, 6.0, 20.0, 0.25),
    Material("leaves and grass", 0.10, 118.0, 13.0, 24.0, 0.4),
    Material("sky, water, slate", 0.06, 250.0, 18.0, 13.0, 0.5),
    Material("paint, print, cloth, plastic", 0.26, None, 0.0, 30.0, 0.55),
)
_BOUNDS = np.cumsum([material.share for material in MATERIALS])


def surface_colour(rng: np.random.Generator) -> Colour:
    """A colour (3) of luminance 1, of a class drawn by its share; within the sRGB gamut."""
    material = MATERIALS[min(int(np.searchsorted(_BOUNDS, rng.random())), len(MATERIALS) - 1)]
    if material.hue is None:
        hue = rng.uniform(0.0, 360.0)
    else:
        hue = rng.normal(material.hue, material.hue_deviation)
    chroma = material.chroma * float(np.exp(rng.normal(0.0, material.chroma_deviation)))
    # Its chroma as of a surface of middling lightness: the same paint looks paler when darker.
    return chromatic(rng.uniform(35.0, 75.0), hue, chroma)


def chromatic(lightness: float, hue: float, chroma: float) -> Colour:
    """The linear sRGB colour (3), scaled to luminance 1, of a CIELAB lightness, hue and chroma.

    Out of the gamut it is paler than asked, of the same hue in linear light.
    """
    angle = np.deg2rad(hue)
    f_y = (lightness + 16.0) / 116.0
    f = np.array([f_y + chroma * np.cos(angle) / 500, f_y, f_y - chroma * np.sin(angle) / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * WHITE
    return in_gamut(XYZ_TO_SRGB @ (xyz / xyz[1]))


def in_gamut(colour: Colour, darkest: float = DARKEST_CHANNEL) -> Colour:
    """`colour` (3, luminance 1), mixed with as much grey as lifts its least channel to that."""
    least = float(colour.min())
    if least >= darkest:
        return colour
    return 1.0 + (colour - 1.0) * ((1.0 - darkest) / (1.0 - least))
