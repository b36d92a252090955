"""Procedural night scenes, drawn from a seed: shapes, the colours of things and lamps, a cache."""

from trials.data.scenes.cache import cached_scenes
from trials.data.scenes.drawing import draw_scene
from trials.data.scenes.palettes import PALETTES

__all__ = ["PALETTES", "cached_scenes", "draw_scene"]
