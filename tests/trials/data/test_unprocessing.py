"""A photo becomes the light that develops into it again."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from photo_files import draw_photo

from trials.data.photos.cuts import places, spread, worth_training
from trials.data.photos.unprocessing import HEADROOM, linear_light, unprocess
from trials.raw.colour import develop, tone
from trials.raw.sensor import load_sensor

MATRIX = torch.tensor(load_sensor("sony_a7s2").camera_to_srgb)


def test_linear_light_is_the_inverse_of_the_tone_curve():
    shown = torch.linspace(0, 1, 65536, dtype=torch.float64)
    light = linear_light(shown)
    assert light[0] == 0 and light[-1] == pytest.approx(1) and (light.diff() > 0).all()
    assert torch.allclose(tone(light), shown, atol=1e-12)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_developed_again_it_is_the_photo(height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (3, height, width), generator=generator)
    photo = levels.float() / 255
    scene, exposure = unprocess(photo, MATRIX)
    assert scene.shape == photo.shape and scene.min() >= 0 and torch.isfinite(scene).all()
    unclipped = linear_light(photo).mean(dim=0) < 0.9
    again = develop((scene * exposure)[None], MATRIX)[0]
    assert ((again - photo).abs() * unclipped).max() < 1 / 255
    # Highlights are lighter than the photo shows, never darker.
    assert (again - photo).min() > -1 / 255


def test_a_photo_is_a_scene_of_mean_one_that_half_precision_holds():
    photo = torch.from_numpy(draw_photo(200, 300)).permute(2, 0, 1) / 255
    scene, exposure = unprocess(photo, MATRIX)
    assert scene[1].mean() == pytest.approx(1, abs=0.02) and 0 < exposure < 1
    again = develop(scene.half().float()[None] * exposure, MATRIX)[0]
    assert (again - photo).abs().max() < 1 / 255


def test_what_was_clipped_has_headroom_and_keeps_its_hue():
    photo = torch.full((3, 8, 8), 0.4)
    photo[:, :4] = 1.0
    scene, exposure = unprocess(photo, MATRIX)
    assert scene[:, 0, 0].tolist() == pytest.approx([HEADROOM / exposure] * 3, rel=1e-4)
    assert (develop(scene[None] * exposure, MATRIX)[0] - photo).abs().max() < 1 / 255
    black, _ = unprocess(torch.zeros(3, 4, 4), MATRIX)
    assert (black == 0).all()


@given(st.integers(2, 900), st.integers(2, 900), st.integers(1, 200).map(lambda half: 2 * half))
def test_cuts_lie_inside_and_do_not_overlap(height, width, size):
    corners = places(height, width, size)
    assert len(corners) == (height // size) * (width // size)
    covered = np.zeros((height, width), np.uint8)
    for top, left in corners:
        assert top % 2 == left % 2 == 0
        covered[top : top + size, left : left + size] += 1
    assert covered.sum() == len(corners) * size**2 and covered.max(initial=0) <= 1


@given(st.integers(1, 60), st.integers(1, 60))
def test_cuts_are_spread(there, wanted):
    chosen = spread(range(there), wanted)
    assert len(chosen) == len(set(chosen)) == min(there, wanted) and chosen[0] == 0
    assert chosen == sorted(chosen) and (wanted == 1 or chosen[-1] == there - 1)


def test_black_white_and_bare_cuts_teach_nothing():
    rng = np.random.default_rng(0)
    good = rng.uniform(0.1, 0.5, (32, 32, 3)).astype(np.float32)
    white = good.copy()
    white[:20] = 1
    assert worth_training(good)
    for cut in (good * 0.01, white, np.full_like(good, 0.3)):
        assert not worth_training(cut)
