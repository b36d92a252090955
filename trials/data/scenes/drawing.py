"""Procedural night scenes: what a camera could see, drawn from a seed, nothing downloaded.

A scene is linear white-balanced RGB with a mean of about one: surfaces (dead leaves:
overlapping shapes of all sizes, which have the statistics of natural images; Lee, Mumford & Huang,
IJCV 2001), with textures, lettering, facades and gradients on them, times a light field with pools
of light and coloured lamps, seen through a lens. Exposure, white balance and noise are the
camera's business, not the scene's.
"""

import string

import cv2
import numpy as np
from numpy.typing import NDArray

from trials.data.scenes.palettes import PALETTES, Palette

Image = NDArray[np.float32]
Box = tuple[slice, slice]
"""Rows and columns of a part of the canvas."""
FONTS = [cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_DUPLEX]


def draw_scene(size: int, seed: int, palette: str = "natural") -> Image:
    """The scene of `seed`: size size 3, linear, white-balanced, mean green about 1.

    With the palette "natural" in sRGB primaries, with "grey" in the camera's own.
    """
    rng = np.random.default_rng(seed)
    colours = PALETTES[palette](rng)
    bank = texture_bank(size, rng)
    canvas = draw_background(size, rng, bank, colours)
    # Night photos have calm parts and dense detail, so the number of leaves spans two decades.
    for radius in leaf_radii(size, rng):
        draw_leaf(canvas, radius, rng, bank, colours)
    if rng.random() < 0.35:
        draw_facade(canvas, rng, colours)
    if rng.random() < 0.5:
        draw_lettering(canvas, rng, colours)
    if rng.random() < 0.4:
        draw_wires(canvas, rng, colours)
    canvas *= draw_light(size, rng, colours)
    draw_lamps(canvas, rng, colours)
    canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.45, 1.0)), dtype=np.float32)
    brightness = float(np.mean(np.minimum(canvas[..., 1], 6.0)))  # lamps must not darken the rest
    return np.ascontiguousarray(canvas / max(brightness, 1e-6), dtype=np.float32)


def cloud(size: int, rng: np.random.Generator, slope: float) -> Image:
    """Random field of zero mean and unit deviation whose spectrum falls as 1 / f^slope."""
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    frequency: NDArray[np.float64] = np.hypot(fy, fx)
    frequency[0, 0] = np.inf
    phase = rng.random(frequency.shape, dtype=np.float32) * np.float32(2 * np.pi)
    field = np.fft.irfft2(np.exp(1j * phase) * frequency**-slope, s=(size, size))
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


def waves(size: int, rng: np.random.Generator) -> Image:
    """Stripes, weaves and checks: products of waves, some of them sharpened into steps."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    field = np.ones((size, size), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(3), np.log(40)))
        phase = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period
        wave = np.sin(phase + rng.uniform(0, 6.28))
        field *= np.tanh(wave * np.exp(rng.uniform(-1, 2.5)))
    return np.asarray((field - field.mean()) / (field.std() + 1e-3), dtype=np.float32)


def texture_bank(size: int, rng: np.random.Generator) -> list[Image]:
    """The textures one scene is made of: rough and smooth clouds, and two patterns."""
    clouds = [cloud(size, rng, slope) for slope in (0.4, 0.9, 1.4, 1.9)]
    return clouds + [waves(size, rng) for _ in range(2)]


def paint(
    canvas: Image,
    box: Box,
    mask: Image,
    rng: np.random.Generator,
    bank: list[Image],
    colours: Palette,
) -> None:
    """A surface where `mask` (0 to 1, of the box's size) is: colour, slope, texture."""
    height, width = mask.shape
    shade: Image = np.zeros((height, width), np.float32)
    if rng.random() < 0.6:
        down, right = rng.normal(0, 1.0, 2).astype(np.float32)
        shade += (np.arange(height, dtype=np.float32) / height - 0.5)[:, None] * down
        shade += (np.arange(width, dtype=np.float32) / width - 0.5)[None, :] * right
    if rng.random() < 0.7:
        strength = np.exp(rng.normal(-2.3, 0.8))
        shade += np.float32(strength) * bank[rng.integers(len(bank))][box]
    surface = np.exp(np.clip(shade, -3, 2))[..., None] * colours.surface(rng)
    under = canvas[box]
    under += mask[..., None] * (surface - under)


def draw_background(
    size: int, rng: np.random.Generator, bank: list[Image], colours: Palette
) -> Image:
    canvas = np.zeros((size, size, 3), np.float32)
    paint(canvas, np.s_[:, :], np.ones((size, size), np.float32), rng, bank, colours)
    return canvas


def leaf_radii(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Radii in pixels, their density falling as r^-3 up to a third of the scene."""
    count = int(np.exp(rng.uniform(np.log(12), np.log(1200))))
    low, high = rng.choice([2.0, 4.0, 10.0]), size / 3
    uniform = rng.random(count)
    radii = (low**-2 + uniform * (high**-2 - low**-2)) ** -0.5
    # Few of these are large; scenes need walls and skies, so mix in broad ones, mostly first.
    broad = rng.uniform(size / 12, size / 2.5, int(rng.integers(2, 12)))
    mixed = np.concatenate([broad, radii])
    return mixed if rng.random() < 0.6 else rng.permutation(mixed)


def draw_leaf(
    canvas: Image, radius: float, rng: np.random.Generator, bank: list[Image], colours: Palette
) -> None:
    """One shape: ellipse, polygon or bar, somewhere, also across the border."""
    size = canvas.shape[0]
    centre = rng.uniform(-0.1 * size, 1.1 * size, 2)
    corners = np.clip([*(centre - radius - 1), *(centre + radius + 2)], 0, size)
    top, left, bottom, right = (int(corner) for corner in corners)
    if bottom - top < 2 or right - left < 2:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    kind = rng.integers(3)
    if kind == 0:
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        reach = np.ones(24)
    elif kind == 1:
        count = int(rng.integers(3, 8))
        angles = np.sort(rng.uniform(0, 2 * np.pi, count))
        reach = rng.uniform(0.5, 1.0, count)
    else:
        angles = np.array([1, 3, 5, 7]) * np.pi / 4
        reach = np.ones(4)
    squeeze, turn = (rng.uniform(0.25, 1.0), rng.uniform(0, np.pi)) if kind != 1 else (1.0, 0.0)
    along, across = reach * np.cos(angles), squeeze * reach * np.sin(angles)
    y = centre[0] - top + radius * (along * np.sin(turn) + across * np.cos(turn))
    x = centre[1] - left + radius * (along * np.cos(turn) - across * np.sin(turn))
    corners = np.round(np.stack([x, y], axis=1) * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, 4)
    cover: Image = mask.astype(np.float32) / np.float32(255)
    paint(canvas, np.s_[top:bottom, left:right], cover, rng, bank, colours)


def draw_facade(canvas: Image, rng: np.random.Generator, colours: Palette) -> None:
    """A wall of windows or tiles: a regular grid, some of its cells lit."""
    size = canvas.shape[0]
    step_y, step_x = (int(v) for v in np.exp(rng.uniform(np.log(8), np.log(48), 2)))
    top, left = (int(v) for v in rng.integers(0, size // 2, 2))
    high, wide = (int(v) for v in rng.integers(size // 4, size // 2, 2))
    frame = rng.uniform(0.1, 0.4)
    cell_height, cell_width = (max(int(step * (1 - frame)), 1) for step in (step_y, step_x))
    dark, lit = colours.surface(rng), colours.lit(rng) * np.float32(rng.uniform(2, 6))
    share = rng.choice([0.0, 0.1, 0.5])
    for y in range(top, min(top + high, size), step_y):
        for x in range(left, min(left + wide, size), step_x):
            cell = canvas[y : y + cell_height, x : x + cell_width]
            colour = lit if rng.random() < share else dark
            cell[...] = colour * np.float32(np.exp(rng.normal(0, 0.15)))


def draw_lettering(canvas: Image, rng: np.random.Generator, colours: Palette) -> None:
    """Lines of letters on a sign, dark on light or light on dark: the edges the eye reads."""
    size = canvas.shape[0]
    scale = float(np.exp(rng.uniform(np.log(0.3), np.log(2.5))))
    ink = np.zeros((size, size), np.uint8)
    characters = list(string.ascii_letters + string.digits + " .-/&")
    left, top = (int(v) for v in rng.integers(0, size // 2, 2))
    lines = int(rng.integers(1, 9))
    for line in range(lines):
        text = "".join(rng.choice(characters, int(rng.integers(4, 24))))
        font, at = int(rng.choice(FONTS)), (left, top + int((line + 1) * 32 * scale))
        thickness = max(1, int(scale * rng.uniform(1, 3)))
        cv2.putText(ink, text, at, font, scale, 255, thickness, cv2.LINE_AA)
    if rng.random() < 0.6:
        bottom = min(size, top + int((lines + 0.6) * 32 * scale))
        right = min(size, left + int(rng.uniform(0.3, 0.9) * size))
        canvas[top:bottom, left:right] = colours.surface(rng)
        ink[:, right:] = 0
    mask = ink[..., None].astype(np.float32) / 255
    canvas += mask * (colours.ink(rng) * np.float32(rng.choice([0.4, 3.0])) - canvas)


def draw_wires(canvas: Image, rng: np.random.Generator, colours: Palette) -> None:
    """Thin lines: wires, railings, twigs."""
    size = canvas.shape[0]
    ink = np.zeros((size, size), np.uint8)
    for _ in range(int(rng.integers(2, 24))):
        steps = np.vstack([rng.uniform(0, size, 2), rng.normal(0, size / 6, (4, 2))])
        corners = np.round(np.cumsum(steps, axis=0) * 16).astype(np.int32)
        cv2.polylines(ink, [corners], False, 255, int(rng.integers(1, 3)), cv2.LINE_AA, 4)
    mask = ink[..., None].astype(np.float32) / 255
    canvas += mask * (colours.surface(rng) - canvas)


def draw_light(size: int, rng: np.random.Generator, colours: Palette) -> Image:
    """The light field, size size 3: a soft gradient, and pools of light in the lamps' colours."""
    depth = rng.uniform(0.1, 0.9)
    light = np.exp(np.float32(depth) * cloud(size, rng, 2.2))[..., None] * colours.ambient(rng)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    for _ in range(int(rng.integers(0, 4))):
        cy, cx = rng.uniform(-0.2 * size, 1.2 * size, 2)
        reach = rng.uniform(0.1, 0.6) * size
        pool = (1.0 / (1.0 + ((y - cy) ** 2 + (x - cx) ** 2) / reach**2))[..., None]
        strength = np.float32(np.exp(rng.normal(0.3, 0.6)))
        light = light + strength * pool**1.5 * colours.pool(rng)
    return np.asarray(light, dtype=np.float32)


def draw_lamps(canvas: Image, rng: np.random.Generator, colours: Palette) -> None:
    """Point lights with a halo, bright enough to clip."""
    if rng.random() < 0.6:
        return
    size = canvas.shape[0]
    spots = np.zeros_like(canvas)
    for _ in range(int(rng.integers(1, 8))):
        colour = colours.spot(rng) * np.float32(np.exp(rng.normal(2.0, 1.0)))
        centre = rng.integers(0, size, 2).tolist()
        cv2.circle(spots, centre, int(rng.integers(1, 5)), colour.tolist(), -1)
    halo = cv2.GaussianBlur(spots, (0, 0), rng.uniform(4, 20))
    np.maximum(canvas, spots, out=canvas)
    canvas += np.float32(rng.uniform(0.2, 1.0)) * halo
