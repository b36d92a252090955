"""Where the colours of a scene come from: "natural" by published figures, or the older "grey"."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trials.data.scenes import lamps
from trials.data.scenes.surfaces import surface_colour

Colour = NDArray[np.float32]
"""Red, green, blue (3), linear."""

# Shares of the lamps of one scene: of another kind than its main light; and of glowing signs.
OTHER_KIND = 0.3
# Where windows are lit, and letters glow, rather than being painted.
GLOWING = 0.5


class Palette(Protocol):
    """Draws colours for one scene."""

    def surface(self, rng: np.random.Generator) -> Colour:
        """A surface's, brightness included."""
        ...

    def lit(self, rng: np.random.Generator) -> Colour:
        """A lit window's."""
        ...

    def ink(self, rng: np.random.Generator) -> Colour:
        """Letters'."""
        ...

    def ambient(self, rng: np.random.Generator) -> Colour:
        """The main light's, about 1."""
        ...

    def pool(self, rng: np.random.Generator) -> Colour:
        """A nearby lamp's, about 1."""
        ...

    def spot(self, rng: np.random.Generator) -> Colour:
        """A lamp's that is in the picture."""
        ...


def brightness(rng: np.random.Generator) -> float:
    """A surface's, log-normal."""
    return float(np.exp(rng.normal(-1.2, 0.75)))


class NaturalPalette:
    """Linear sRGB: surfaces.py under lamps.py, white-balanced on the scene's main light."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._main = lamps.lamp_colour(rng)
        self._balance = lamps.balance(self._main, rng)

    def surface(self, rng: np.random.Generator) -> Colour:
        return np.asarray(brightness(rng) * surface_colour(rng), dtype=np.float32)

    def lit(self, rng: np.random.Generator) -> Colour:
        return self._relative(lamps.lamp_colour(rng)) * np.float32(brightness(rng))

    def ink(self, rng: np.random.Generator) -> Colour:
        if rng.random() >= GLOWING:
            return self.surface(rng)
        return self._relative(lamps.sign_colour(rng)) * np.float32(brightness(rng))

    def ambient(self, rng: np.random.Generator) -> Colour:
        return np.asarray(self._main * self._balance, dtype=np.float32)

    def pool(self, rng: np.random.Generator) -> Colour:
        other = rng.random() < OTHER_KIND
        colour = self._main
        if other:
            is_sign = rng.random() < lamps.SIGN_SHARE
            colour = lamps.sign_colour(rng) if is_sign else lamps.lamp_colour(rng)
        return np.asarray(colour * self._balance, dtype=np.float32)

    def spot(self, rng: np.random.Generator) -> Colour:
        return self.pool(rng)

    def _relative(self, light: NDArray[np.float64]) -> Colour:
        """A light's own colour, as the main light doesn't shine on it (it is multiplied later)."""
        return np.asarray(light / np.maximum(self._main, lamps.LEAST_BALANCED), dtype=np.float32)


class GreyPalette:
    """White-balanced camera RGB: mostly greyish, the rest red against blue. The scenes of the
    releases before natural colours; networks that learn from them turn leaves grey.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        """Draws nothing."""

    def surface(self, rng: np.random.Generator) -> Colour:
        grey = brightness(rng)
        strength = (0.04, 0.04, 0.04, 0.12, 0.12, 0.12, 0.35)[rng.integers(7)]
        warmth, tint = strength * rng.normal(0.4, 1.2), strength * rng.normal(0, 0.5)
        return np.asarray(grey * np.exp([warmth, tint, -warmth]), dtype=np.float32)

    def lit(self, rng: np.random.Generator) -> Colour:
        return self.surface(rng)

    def ink(self, rng: np.random.Generator) -> Colour:
        return self.surface(rng)

    def ambient(self, rng: np.random.Generator) -> Colour:
        warmth, tint = rng.normal(0.12, 0.2), rng.normal(0, 0.06)
        return np.asarray(np.exp([warmth, tint, -warmth]), dtype=np.float32)

    def pool(self, rng: np.random.Generator) -> Colour:
        return self.ambient(rng)

    def spot(self, rng: np.random.Generator) -> Colour:
        return self.ambient(rng) ** 2


PALETTES: dict[str, type[NaturalPalette] | type[GreyPalette]] = {
    "natural": NaturalPalette,
    "grey": GreyPalette,
}
