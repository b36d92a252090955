"""Protocols against scikit-image, what they include, and several networks scored at once."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sid_folder import write_list, write_pair
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from space import (
    BASELINES,
    Genome,
    InputError,
    NetworkInput,
    build_model,
    load_reference_checkpoint,
)
from trials import load_pairs, psnr_db, score_images, ssim
from trials.data import DecodedCache, DecodedPair, decode_pairs, select_split
from trials.scoring.protocols import (
    PROTOCOLS,
    Restorer,
    baseline_restorer,
    find_protocol,
    network_restorer,
    preprocess,
    score,
    score_pictures,
    ssim_in_bands,
)

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
SMALL = Genome(
    skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)
WINDOWS = {"ssim": {"win_size": 7}, "ssim_gaussian11": GAUSSIAN}


def noisy(seed, height=40, width=36, spread=0.05):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(1, 3, height, width, generator=generator)
    return (truth + spread * torch.randn(truth.shape, generator=generator)).clamp(0, 1), truth


def as_numpy(image):
    return image[0].permute(1, 2, 0).numpy()


def scikit_image(output, truth, peak):
    """What scikit-image says of two pictures h w 3."""
    psnr = peak_signal_noise_ratio(truth, output, data_range=peak)
    ssims = {
        name: structural_similarity(truth, output, data_range=peak, channel_axis=2, **flags)
        for name, flags in WINDOWS.items()
    }
    return {"psnr_db": psnr, **ssims}


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.003, 0.05, 0.4]),
    st.sampled_from(["float", "uint8", "uint8-rounded"]),
)
def test_scores_are_scikit_images(seed, spread, protocol):
    images = noisy(seed, spread=spread)
    scores, peak = score(*images, PROTOCOLS[protocol]), 1
    output, truth = (as_numpy(image) for image in images)
    if protocol != "float":
        rounding, peak = (np.round if protocol == "uint8-rounded" else np.floor), 255
        output, truth = (rounding(image * 255).astype(np.uint8) for image in (output, truth))
    else:
        output, truth = output.astype(float), truth.astype(float)
    expected = scikit_image(output, truth, peak)
    assert scores["psnr_db"] == pytest.approx(expected["psnr_db"], abs=1e-6)
    assert scores == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["uint8", "uint8-rounded"])
def test_what_was_8_bits_stays_as_it_was(name):
    eight = torch.arange(256).repeat(3).reshape(1, 3, 16, 16)
    sixteen = (eight * 257).float() / 65535
    _, truth = preprocess(sixteen, sixteen, PROTOCOLS[name])
    assert torch.equal((truth * 255).round().long(), eight)
    assert float((truth * 255 - eight).abs().max()) < 1e-9


@pytest.mark.parametrize("window", ["uniform7", "gaussian11"])
@pytest.mark.parametrize("height", [20, 38, 39, 42, 43, 300])
def test_bands_are_the_whole_picture(window, height):
    output, truth = noisy(4, height, 24)
    expected = float(ssim(output, truth, peak=1.0, window=window))
    assert ssim_in_bands(output, truth, window) == pytest.approx(expected)


def test_ssim_stays_on_the_pictures_device():
    picture = torch.empty(1, 3, 16, 16, device="meta")
    assert ssim(picture, picture, peak=1.0).device.type == "meta"


def test_one_gain_a_picture_mends_brightness_and_one_a_channel_mends_colour():
    truth = 0.4 * noisy(5)[1]
    darker, tinted = 0.5 * truth, truth * torch.tensor([0.5, 1.0, 1.5])[None, :, None, None]
    dark, tint = (
        {
            name: score(image, truth, PROTOCOLS[name])["psnr_db"]
            for name in ("float", "gain-aligned", "colour-aligned")
        }
        for image in (darker, tinted)
    )
    assert dark["float"] < 25 < 100 < dark["gain-aligned"] and dark["colour-aligned"] > 100
    assert tint["gain-aligned"] < 25 < 100 < tint["colour-aligned"]
    output, _ = preprocess(tinted, truth, PROTOCOLS["gain-aligned"])
    assert float(output.mean()) == pytest.approx(float(truth.mean()), rel=1e-5)


def test_a_gain_never_leaves_the_pictures_range_and_black_stays_black():
    truth = torch.rand(1, 3, 12, 12)
    output, _ = preprocess(truth**4, truth, PROTOCOLS["gain-aligned"])
    assert float(output.max()) <= 1.0
    output, _ = preprocess(torch.zeros_like(truth), truth, PROTOCOLS["colour-aligned"])
    assert bool((output == 0).all())


def test_every_protocol_is_named_in_words():
    assert {"float", "uint8", "sid50", "all-ratios", "gain-aligned"} <= PROTOCOLS.keys()
    for protocol in PROTOCOLS.values():
        assert "SSIM 7 x 7" in protocol.description and "\n" not in protocol.description
    words = "must be one of float, uint8, .*, but got 'psnr'; choose"
    with pytest.raises(InputError, match=words):
        find_protocol("psnr")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Test pairs of two scenes and two ratios, one of them misaligned, as true DNGs."""
    folder = tmp_path_factory.mktemp("SID")
    rows = [
        write_pair(folder, "10003", "00"),
        write_pair(folder, "10003", "01"),
        write_pair(folder, "10003", "00", seconds=("0.04", "10")),
        write_pair(folder, "10034", "00", seconds=("0.1", "30")),
    ]
    write_list(folder, "test", rows)
    write_list(folder, "train", [write_pair(folder, "00001", "00")])
    return folder


@pytest.fixture(scope="module")
def pictures(folder, tmp_path_factory):
    cache = DecodedCache(tmp_path_factory.mktemp("cache"))
    return decode_pairs(select_split(folder, "test", cache), cache)


def test_sid50_takes_the_first_pictures_of_a_tenth_of_a_second(pictures):
    included = [picture.name for picture in pictures if PROTOCOLS["sid50"].includes(picture)]
    assert included == ["10003_00_0.1s", "10034_00_0.1s"]
    assert all(
        protocol.includes(pictures[1]) for name, protocol in PROTOCOLS.items() if name != "sid50"
    )


def test_pictures_are_the_pairs_that_load_pairs_gives(folder, pictures, tmp_path):
    assert [picture.files.scene for picture in pictures] == ["10003", "10003", "10003", "10034"]
    for balanced in (False, True):
        pairs = load_pairs(
            folder, "test", network_input=NetworkInput(balanced), cache_dir=tmp_path
        )
        for picture, pair in zip(pictures, pairs, strict=True):
            ours = picture.load(NetworkInput(balanced))
            assert torch.equal(ours.mosaic, pair.mosaic) and torch.equal(ours.target, pair.target)


@pytest.mark.parametrize("split", ["train", "val", "test", "all"])
def test_splits_are_those_of_load_pairs(folder, tmp_path, split):
    write_list(folder, "val", [write_pair(folder, "20001", "00")])
    try:
        names = [row.name for row in select_split(folder, split, DecodedCache(tmp_path))]
        assert names == [pair.name for pair in load_pairs(folder, split, cache_dir=tmp_path)]
    finally:
        (folder / "Sony_val_list.txt").unlink()


def test_splits_that_are_not_there_are_told(folder, tmp_path):
    (tmp_path / "SID").mkdir()
    write_list(tmp_path / "SID", "train", [write_pair(tmp_path / "SID", "00001", "00")])
    with pytest.raises(InputError, match="must have a test list, but .* has train"):
        select_split(tmp_path / "SID", "test", DecodedCache(tmp_path))
    with pytest.raises(
        InputError, match="split must be one of train, val, test or all, but is 'every'"
    ):
        select_split(folder, "every", DecodedCache(tmp_path))


def test_equal_ratios_are_equal_whatever_the_seconds(tmp_path):
    assert 7 / 0.07 != 100
    seconds = {"00001": ("0.07", "7"), "00002": ("0.1", "10")}
    rows = [write_pair(tmp_path, scene, seconds=times) for scene, times in seconds.items()]
    write_list(tmp_path, "test", rows)
    cache = DecodedCache(tmp_path / "cache")
    pictures = decode_pairs(select_split(tmp_path, "test", cache), cache)
    (scores,) = score_pictures([baseline_restorer()], pictures, [PROTOCOLS["float"]])
    assert [score.ratio for score in scores["float"]] == [100.0, 100.0]


def test_each_picture_is_restored_and_read_once(pictures, monkeypatch):
    restored = []
    loaded = []
    steps = []

    def counting(name, balanced):
        def restore(mosaic):
            restored.append(name)
            return torch.full((1, 3, *mosaic.shape[-2:]), float(mosaic.mean()))

        return Restorer(restore=restore, input=NetworkInput(balanced))

    def counting_load(self, wanted, device):
        loaded.append((self.name, wanted.white_balanced))
        return load(self, wanted, device)

    load = DecodedPair.load
    monkeypatch.setattr(DecodedPair, "load", counting_load)
    results = score_pictures(
        [counting("a", True), counting("b", True), counting("c", False)],
        pictures,
        list(PROTOCOLS.values()),
        on_progress=lambda phase, done, total, _: steps.append((done, total)),
    )
    assert restored == ["a", "b", "c"] * 4
    assert loaded == [(p.name, balanced) for p in pictures for balanced in (True, False)]
    assert steps == [(done, 12) for done in range(1, 13)]
    assert {name: len(scores) for name, scores in results[0].items()} == {
        name: 2 if name == "sid50" else 4 for name in PROTOCOLS
    }
    # The white balance is what makes c's input, and so its score, another.
    assert results[0]["float"] == results[1]["float"] != results[2]["float"]
    assert results[0]["float"] == results[0]["all-ratios"]


def test_amplifying_alone_is_given_the_white_balance(pictures):
    (found,) = score_pictures([baseline_restorer()], pictures, [PROTOCOLS["float"]])
    assert baseline_restorer().input == NetworkInput(True, False)
    assert all(math.isfinite(image.psnr_db) and 0 <= image.ssim <= 1 for image in found["float"])


def test_float_is_what_trials_are_scored_by(sid_sample, tmp_path):
    torch.manual_seed(0)
    model = build_model(SMALL).eval()
    cache = DecodedCache(tmp_path)
    pictures = decode_pairs(select_split(sid_sample, "test", cache)[:2], cache)
    (found,) = score_pictures(
        [network_restorer(model, NetworkInput())], pictures, [PROTOCOLS["float"]]
    )
    expected = score_images(model, [picture.load(NetworkInput()) for picture in pictures])
    for ours, theirs in zip(found["float"], expected, strict=True):
        assert (ours.name, ours.psnr_db) == (theirs.name, theirs.psnr_db)
        assert ours.ssim == pytest.approx(theirs.ssim, abs=1e-12)


def test_ssim_of_the_published_mo_on_real_pictures_is_scikit_images(sid_sample, shared, tmp_path):
    model = load_reference_checkpoint("MO", str(shared / "reference" / "mo_checkpoint.pt"))
    assert model.genome == BASELINES["MO"]
    cache = DecodedCache(tmp_path)
    (picture,) = decode_pairs(select_split(sid_sample, "test", cache)[:1], cache)
    pair = picture.load(NetworkInput(False))
    with torch.no_grad():
        output = network_restorer(model, NetworkInput(False)).restore(pair.mosaic)
    ours, theirs = as_numpy(output), as_numpy(pair.target)
    scores = score(output, pair.target, PROTOCOLS["float"])
    assert scores == pytest.approx(scikit_image(ours, theirs, 1), abs=1e-4)
    ours, theirs = ((image * 255).astype(np.uint8) for image in (ours, theirs))
    scores = score(output, pair.target, PROTOCOLS["uint8"])
    assert scores == pytest.approx(scikit_image(ours, theirs, 255), abs=1e-4)
    assert scores["psnr_db"] == pytest.approx(psnr_db(output, pair.target, peak=1).item(), abs=0.2)
