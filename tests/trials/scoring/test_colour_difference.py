"""CIEDE2000 and CIELAB against scikit-image, and pairs that Sharma et al. published."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import deltaE_ciede2000, rgb2lab

from trials.scoring.colour_difference import ciede2000, hue_difference, lab_of_srgb

# Of Sharma, Wu & Dalal 2005, table 1: two colours, and their difference.
PUBLISHED = [
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, 3.1571, -77.2803), (50.0, 0.0, -82.7485), 2.8615),
    ((50.0, 2.8361, -74.0200), (50.0, 0.0, -82.7485), 3.4412),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
    ((50.0, -0.001, 2.49), (50.0, 0.0009, -2.49), 4.8045),
    ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((50.0, 2.5, 0.0), (61.0, -5.0, 29.0), 22.8977),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]
COLOUR = st.tuples(st.floats(0, 100), st.floats(-100, 100), st.floats(-100, 100))


@pytest.mark.parametrize(("first", "second", "wanted"), PUBLISHED)
def test_the_published_pairs(first, second, wanted):
    one, other = np.array(first), np.array(second)
    assert float(ciede2000(one, other)) == pytest.approx(wanted, abs=1e-4)
    assert float(ciede2000(other, one)) == pytest.approx(wanted, abs=1e-4)


@settings(max_examples=300, deadline=None)
@given(COLOUR, COLOUR)
def test_as_scikit_image(first, second):
    one, other = np.array(first), np.array(second)
    if abs(float(hue_difference(one, other)) - 180) < 1e-3:
        return  # the mean of opposite hues has two answers, by rounding
    assert float(ciede2000(one, other)) == pytest.approx(
        float(deltaE_ciede2000(one, other)), abs=1e-6
    )
    assert float(ciede2000(one, one)) == 0


def test_lab_is_scikit_images():
    display = np.random.default_rng(0).random((50, 3))
    assert lab_of_srgb(display) == pytest.approx(rgb2lab(display), abs=0.02)


def test_hues_are_compared_the_shorter_way_round():
    degrees = np.deg2rad([350.0, 10.0])
    labs = np.stack([np.full(2, 50.0), 20 * np.cos(degrees), 20 * np.sin(degrees)], axis=-1)
    assert float(hue_difference(labs[0], labs[1])) == pytest.approx(20)
    assert float(hue_difference(labs[1], labs[0])) == pytest.approx(20)
