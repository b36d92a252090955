"""Colours of lamps, as a camera sees them that was white-balanced on the scene's main light.

Chromaticities are those of the CIE's illuminants: sodium, metal halide, fluorescent and filament
lamps of CIE 15:2004 (tables of HP1 to HP5, FL and A), white LEDs of CIE 15:2018 (LED-B1 to
LED-RGB1), daylight D65; low-pressure sodium is the spectral line of 589 nm; signs and screens mix
the primaries of sRGB (IEC 61966-2-1). Shares are ours, of a city around 2020.
"""

from __future__ import annotations

import numpy as np

from trials.data.scenes.surfaces import XYZ_TO_SRGB, Colour

# Share as a scene's main light, and x, y.
LAMPS: tuple[tuple[str, float, float, float], ...] = (
    ("LED, 2,700 K", 0.14, 0.4560, 0.4078),
    ("LED, 3,000 K", 0.14, 0.4357, 0.4012),
    ("LED, 4,100 K", 0.12, 0.3756, 0.3723),
    ("LED, 5,100 K", 0.06, 0.3422, 0.3502),
    ("LED, 6,600 K", 0.04, 0.3118, 0.3236),
    ("high-pressure sodium", 0.12, 0.5330, 0.4150),
    ("high-pressure sodium, better colour", 0.04, 0.4778, 0.4158),
    ("low-pressure sodium", 0.02, 0.5690, 0.4300),
    ("metal halide, warm", 0.05, 0.4302, 0.4075),
    ("metal halide, cold", 0.05, 0.3812, 0.3797),
    ("fluorescent, cool white", 0.05, 0.3721, 0.3751),
    ("fluorescent, three bands", 0.05, 0.3805, 0.3769),
    ("filament", 0.06, 0.4476, 0.4074),
    ("moon and sky", 0.06, 0.3127, 0.3290),
)
_SHARES = np.cumsum([share for _, share, _, _ in LAMPS])
# A lamp of sodium has next to no blue, but what lies around it scatters some.
DARKEST_CHANNEL = 0.03
# Cameras stop short of balancing out such light: the least channel that they divide by.
LEAST_BALANCED = 0.12
# How much of the main light's colour the balance takes away (1: all), and how far its estimate
# lies beside it, in the logarithm.
ADAPTATION = (0.8, 1.0)
BALANCE_ERROR = 0.05
# How lamps of one kind differ, in x and y.
SPREAD = 0.006
SIGN_SHARE = 0.25


def lamp_colour(rng: np.random.Generator) -> Colour:
    """A lamp's linear sRGB (3), luminance about 1, before any white balance."""
    kind = min(int(np.searchsorted(_SHARES, rng.random() * _SHARES[-1])), len(LAMPS) - 1)
    _, _, x, y = LAMPS[kind]
    x, y = rng.normal([x, y], SPREAD)
    return of_chromaticity(x, y)


def sign_colour(rng: np.random.Generator) -> Colour:
    """A neon sign, traffic light or screen (3): one or two primaries, little of a third."""
    mix = rng.dirichlet([0.35, 0.35, 0.35]) + 0.02
    return np.asarray(mix / (mix @ (0.2126, 0.7152, 0.0722)))


def of_chromaticity(x: float, y: float) -> Colour:
    """The linear sRGB colour (3) of CIE 1931 x, y, luminance 1; beside the gamut the nearest."""
    colour = XYZ_TO_SRGB @ np.array([x / y, 1.0, (1.0 - x - y) / y])
    return np.asarray(np.maximum(colour, DARKEST_CHANNEL))


def balance(main: Colour, rng: np.random.Generator) -> Colour:
    """What a camera multiplies linear sRGB (3) by under that main light; green about 1."""
    gains = np.maximum(main / main[1], LEAST_BALANCED) ** -rng.uniform(*ADAPTATION)
    return np.asarray(gains * np.exp(rng.normal(0.0, BALANCE_ERROR, 3) * (1.0, 0.5, 1.0)))
