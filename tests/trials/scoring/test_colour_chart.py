"""The chart is photographed as it is known, and a wrong colour is found."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from space import InputError, NetworkInput
from trials import DataConfig
from trials.scoring.baseline import amplified_only
from trials.scoring.colour_chart import (
    PATCHES,
    SIZE,
    Layout,
    inlaid,
    patches,
    photograph_chart,
    picture,
    restored_chart,
    score_chart,
    shown_pair,
)
from trials.scoring.colour_difference import lab_of_srgb
from trials.scoring.protocols import Restorer, baseline_restorer

CONFIG = DataConfig()


@pytest.fixture(scope="module")
def photos():
    return photograph_chart(CONFIG, ratios=[1, 10, 300], isos=[100, 1600], draws=1)


def oracle(photo, change=lambda image: image):
    """Restores the chart as it is known, but for `change`."""
    return Restorer(restore=lambda _: change(photo.target), input=NetworkInput())


def test_the_target_is_the_chart_as_it_was_published(photos):
    """As LibRaw develops it: its tone curve is BT.709's, and the exposure is a little lower."""
    found = lab_of_srgb(patches(picture(photos[0].target)))
    wanted = lab_of_srgb(np.array([display for _, *display in PATCHES]) / 255)
    hues = [np.rad2deg(np.arctan2(lab[:, 2], lab[:, 1])) for lab in (found, wanted)]
    chromatic = np.hypot(wanted[:, 1], wanted[:, 2]) > 15
    apart = np.abs((hues[0] - hues[1] + 180) % 360 - 180)
    assert chromatic.sum() == 18 and apart[chromatic].max() < 12
    assert np.abs(found[:, 0] - wanted[:, 0]).max() < 14
    assert np.argsort(found[18:, 0]).tolist() == [5, 4, 3, 2, 1, 0], "the greys fall"


def test_the_photos_are_the_asked_ones_and_always_the_same(photos):
    assert [(one.ratio, one.iso) for one in photos] == [
        (ratio, iso) for ratio in (1, 10, 300) for iso in (100, 1600)
    ]
    again = photograph_chart(CONFIG, ratios=[1, 10, 300], isos=[100, 1600], draws=1)
    for one, other in zip(photos, again, strict=True):
        balanced, plain = one.mosaics[NetworkInput()], one.mosaics[NetworkInput(False)]
        assert balanced.shape == (1, 1, *SIZE) and one.target.shape == (1, 3, *SIZE)
        assert torch.equal(balanced, other.mosaics[NetworkInput()])
        green = (slice(None), slice(None), slice(0, None, 2), slice(1, None, 2))
        assert torch.equal(balanced[green], plain[green])
        assert len(one.mosaics) == 4 and balanced.min() >= 0 and balanced.max() <= 1


def test_a_perfect_restorer_has_no_error_and_a_tinted_one_is_found(photos):
    scores = score_chart(oracle(photos[0]), photos[:1])
    assert len(scores) == 24 and max(one.delta_e for one in scores) < 1e-6
    tint = torch.tensor([1.0, 0.8, 1.0]).reshape(1, 3, 1, 1)
    tinted = score_chart(oracle(photos[0], lambda image: image * tint), photos[:1])
    assert np.mean([one.delta_e for one in tinted]) > 5
    grey = score_chart(oracle(photos[0], lambda image: image.flip(1)), photos[:1])
    hues = {one.patch: one.hue_error_degrees for one in grey}
    assert hues["neutral 5"] is None and hues["red"] > 60 and hues["green"] is not None


def test_amplifying_alone_is_worse_in_the_dark(photos):
    scores = score_chart(baseline_restorer(), photos)
    means = {
        (ratio, iso): np.mean([s.delta_e for s in scores if (s.ratio, s.iso) == (ratio, iso)])
        for ratio in (1, 300)
        for iso in (100, 1600)
    }
    assert means[300, 1600] > means[1, 1600] and means[300, 1600] > means[300, 100]


def test_a_network_for_mosaics_without_white_balance_gets_those(photos):
    seen = []

    def restore(mosaic):
        seen.append(mosaic)
        return amplified_only(mosaic)

    restorer = Restorer(restore=restore, input=NetworkInput(False))
    restored = restored_chart(restorer, photos[0])
    assert torch.equal(seen[0], photos[0].mosaics[NetworkInput(False)])
    both = inlaid(restored, photos[0])
    assert both.shape == (*SIZE, 3) and not np.array_equal(both, restored)
    part = Layout(*SIZE).parts(0.4)[0]
    assert np.array_equal(both[part], picture(photos[0].target)[part])


@pytest.mark.parametrize("size", [(96, 96), (256, 320), (320, 320), (200, 300)])
def test_the_patches_lie_apart_within_the_picture(size):
    taken = np.zeros(size, int)
    for part in Layout(*size).parts(0.0):
        taken[part] += 1
    patch = Layout(*size).patch
    assert taken.max() == 1 and taken.sum() == 24 * patch**2 and patch >= 6
    pair = shown_pair(replace(CONFIG, white_balanced_input=False), size)
    assert pair.mosaic.shape[-2:] == size == pair.target.shape[-2:]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"ratios": [0]}, "ratio must be from 1 to 1000, but is 0; change it"),
        ({"ratios": [5000.0]}, "ratio must be from 1 to 1000"),
        ({"isos": [3]}, r"ISO must be one that .* was calibrated at \(50 to 25600\), but is 3"),
    ],
)
def test_what_is_refused(words, message):
    with pytest.raises(InputError, match=message):
        photograph_chart(CONFIG, **{"draws": 1, "ratios": [1], "isos": [100]} | words)
