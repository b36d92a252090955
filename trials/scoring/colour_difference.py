"""CIELAB, and CIEDE2000: how different two colours look.

One unit is about the smallest difference that is seen side by side. (Sharma, Wu & Dalal, "The
CIEDE2000 color-difference formula: implementation notes, supplementary test data, and mathematical
observations", Color Research and Application, 2005.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# IEC 61966-2-1: XYZ (D65) of linear sRGB.
SRGB_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
WHITE = SRGB_TO_XYZ.sum(axis=1)


def linear_of_srgb(display: Array) -> Array:
    """Linear light of sRGB display values, both in [0, 1], element by element."""
    curved = ((display + 0.055) / 1.055) ** 2.4
    return np.where(display <= 0.04045, display / 12.92, curved)


def lab_of_srgb(display: Array) -> Array:
    """CIELAB (... 3: L 0 to 100, a, b; D65) of sRGB display values (... 3) in [0, 1]."""
    xyz = linear_of_srgb(display) @ SRGB_TO_XYZ.T / WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def chroma(lab: Array) -> Array:
    """Chroma (...) of CIELAB colours (... 3)."""
    return np.asarray(np.hypot(lab[..., 1], lab[..., 2]))


def hue_difference(lab: Array, other: Array) -> Array:
    """How far hues of CIELAB colours (... 3) lie apart, in degrees from 0 to 180."""
    angles = (np.rad2deg(np.arctan2(one[..., 2], one[..., 1])) for one in (lab, other))
    first, second = angles
    return np.asarray(np.abs((first - second + 180) % 360 - 180))


def ciede2000(lab: Array, other: Array) -> Array:
    """The difference (...) of CIELAB colours (... 3); the factors kL, kC and kH are 1."""
    c_mean = (chroma(lab) + chroma(other)) / 2
    g = 0.5 * (1 - np.sqrt(c_mean**7 / (c_mean**7 + 25.0**7)))
    (l1, c1, h1), (l2, c2, h2) = (_polar(one, g) for one in (lab, other))
    grey = c1 * c2 == 0
    # Hues: the shorter way round, and none where one colour is grey.
    dh = np.where(grey, 0.0, (h2 - h1 + 180) % 360 - 180)
    # Exactly opposite ones count as +180 where the second is the larger.
    dh = np.where((dh == -180) & (h2 > h1), 180.0, dh)
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.deg2rad(dh / 2))
    l_mean, c_mean = (l1 + l2) / 2, (c1 + c2) / 2
    h_sum = h1 + h2
    far = np.abs(h1 - h2) > 180
    h_mean = np.where(far, np.where(h_sum < 360, h_sum + 360, h_sum - 360), h_sum) / 2
    h_mean = np.where(grey, h_sum, h_mean)
    t = (
        1
        - 0.17 * _cos(h_mean - 30)
        + 0.24 * _cos(2 * h_mean)
        + 0.32 * _cos(3 * h_mean + 6)
        - 0.20 * _cos(4 * h_mean - 63)
    )
    s_l = 1 + 0.015 * (l_mean - 50) ** 2 / np.sqrt(20 + (l_mean - 50) ** 2)
    s_c, s_h = 1 + 0.045 * c_mean, 1 + 0.015 * c_mean * t
    turn = 30 * np.exp(-(((h_mean - 275) / 25) ** 2))
    r_t = -2 * np.sqrt(c_mean**7 / (c_mean**7 + 25.0**7)) * np.sin(np.deg2rad(2 * turn))
    light, colour, hue = (l2 - l1) / s_l, (c2 - c1) / s_c, d_hue / s_h
    return np.asarray(np.sqrt(light**2 + colour**2 + hue**2 + r_t * colour * hue))


def _polar(lab: Array, g: Array) -> tuple[Array, Array, Array]:
    """Lightness, and chroma and hue (0 to 360) with the red-green axis stretched by 1 + g."""
    a, b = (1 + g) * lab[..., 1], lab[..., 2]
    return lab[..., 0], np.hypot(a, b), np.rad2deg(np.arctan2(b, a)) % 360


def _cos(degrees: Array) -> Array:
    return np.asarray(np.cos(np.deg2rad(degrees)))
