"""Protocols against scikit-image, what they include, and several networks scored at once."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sid_folder import write_list, write_pair
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from space import BASELINES, Genome, InputError, build_model
from trials import Pair, load_pairs, psnr_db, score_images, ssim
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

WINDOWS = {
    "ssim": {"win_size": 7},
    "ssim_gaussian11": {
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "truncate": 3.5,
    },
}


def noisy(
    seed: int, height: int = 40, width: int = 36, spread: float = 0.05
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(1, 3, height, width, generator=generator)
    return (truth + spread * torch.randn(truth.shape, generator=generator)).clamp(0, 1), truth


def as_numpy(image: torch.Tensor) -> np.ndarray:
    return image[0].permute(1, 2, 0).numpy()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.003, 0.05, 0.4]))
def test_float_is_scikit_images(seed: int, spread: float) -> None:
    output, truth = noisy(seed, spread=spread)
    found = score(output, truth, PROTOCOLS["float"])
    ours, theirs = as_numpy(output).astype(float), as_numpy(truth).astype(float)
    assert found["psnr_db"] == pytest.approx(
        peak_signal_noise_ratio(theirs, ours, data_range=1), abs=1e-6
    )
    for name, how in WINDOWS.items():
        expected = structural_similarity(theirs, ours, data_range=1, channel_axis=2, **how)
        assert found[name] == pytest.approx(expected, abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.003, 0.05, 0.4]), st.booleans())
def test_8_bits_are_scikit_images_on_8_bit_pictures(
    seed: int, spread: float, rounded: bool
) -> None:
    output, truth = noisy(seed, spread=spread)
    found = score(output, truth, PROTOCOLS["uint8-rounded" if rounded else "uint8"])
    ours, theirs = (
        (np.round(as_numpy(image) * 255) if rounded else as_numpy(image) * 255).astype(np.uint8)
        for image in (output, truth)
    )
    assert found["psnr_db"] == pytest.approx(peak_signal_noise_ratio(theirs, ours), abs=1e-6)
    for name, how in WINDOWS.items():
        expected = structural_similarity(theirs, ours, data_range=255, channel_axis=2, **how)
        assert found[name] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["uint8", "uint8-rounded"])
def test_what_was_8_bits_stays_as_it_was(name: str) -> None:
    eight = torch.arange(256).repeat(3).reshape(1, 3, 16, 16)
    sixteen = (eight * 257).float() / 65535
    _, truth = preprocess(sixteen, sixteen, PROTOCOLS[name])
    assert (
        torch.equal((truth * 255).round().long(), eight)
        and float((truth * 255 - eight).abs().max()) < 1e-9
    )


@pytest.mark.parametrize("window", ["uniform7", "gaussian11"])
@pytest.mark.parametrize("height", [20, 38, 39, 42, 43, 300])
def test_bands_are_the_whole_picture(window: str, height: int) -> None:
    output, truth = noisy(4, height, 24)
    assert ssim_in_bands(output, truth, window) == pytest.approx(
        float(ssim(output, truth, peak=1.0, window=window))
    )


def test_ssim_stays_on_the_pictures_device() -> None:
    picture = torch.empty(1, 3, 16, 16, device="meta")
    assert ssim(picture, picture, peak=1.0).device.type == "meta"


def test_one_gain_a_picture_mends_brightness_and_one_a_channel_mends_colour() -> None:
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


def test_a_gain_never_leaves_the_pictures_range_and_black_stays_black() -> None:
    truth = torch.rand(1, 3, 12, 12)
    output, _ = preprocess(truth**4, truth, PROTOCOLS["gain-aligned"])
    assert float(output.max()) <= 1.0
    output, _ = preprocess(torch.zeros_like(truth), truth, PROTOCOLS["colour-aligned"])
    assert bool((output == 0).all())


def test_every_protocol_is_named_in_words() -> None:
    assert {"float", "uint8", "sid50", "all-ratios", "gain-aligned"} <= PROTOCOLS.keys()
    assert all(
        "SSIM 7 x 7" in protocol.description and "\n" not in protocol.description
        for protocol in PROTOCOLS.values()
    )
    with pytest.raises(
        InputError, match="must be one of float, uint8, .*, but got 'psnr'; choose"
    ):
        find_protocol("psnr")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
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
def pictures(folder, tmp_path_factory: pytest.TempPathFactory):
    cache = DecodedCache(tmp_path_factory.mktemp("cache"))
    return decode_pairs(select_split(folder, "test", cache), cache)


def test_sid50_takes_the_first_pictures_of_a_tenth_of_a_second(pictures) -> None:
    held = [picture.name for picture in pictures if PROTOCOLS["sid50"].includes(picture)]
    assert held == ["10003_00_0.1s", "10034_00_0.1s"]
    assert all(
        protocol.includes(pictures[1]) for name, protocol in PROTOCOLS.items() if name != "sid50"
    )


def test_pictures_are_the_pairs_that_load_pairs_gives(folder, pictures, tmp_path) -> None:
    assert [picture.files.scene for picture in pictures] == ["10003", "10003", "10003", "10034"]
    for balanced in (False, True):
        pairs = load_pairs(folder, "test", white_balanced_input=balanced, cache_dir=tmp_path)
        for picture, pair in zip(pictures, pairs, strict=True):
            ours = picture.load(balanced)
            assert torch.equal(ours.mosaic, pair.mosaic) and torch.equal(ours.target, pair.target)


@pytest.mark.parametrize("split", ["train", "val", "test", "all"])
def test_splits_are_those_of_load_pairs(folder, tmp_path, split) -> None:
    write_list(folder, "val", [write_pair(folder, "20001", "00")])
    try:
        names = [row.name for row in select_split(folder, split, DecodedCache(tmp_path))]
        assert names == [pair.name for pair in load_pairs(folder, split, cache_dir=tmp_path)]
    finally:
        (folder / "Sony_val_list.txt").unlink()


def test_splits_that_are_not_there_are_told(folder, tmp_path) -> None:
    (tmp_path / "SID").mkdir()
    write_list(tmp_path / "SID", "train", [write_pair(tmp_path / "SID", "00001", "00")])
    with pytest.raises(InputError, match="must have a test list, but .* has train"):
        select_split(tmp_path / "SID", "test", DecodedCache(tmp_path))
    with pytest.raises(
        InputError, match="split must be one of train, val, test or all, but is 'every'"
    ):
        select_split(folder, "every", DecodedCache(tmp_path))


def test_equal_ratios_are_equal_whatever_the_seconds(tmp_path) -> None:
    assert 7 / 0.07 != 100
    seconds = {"00001": ("0.07", "7"), "00002": ("0.1", "10")}
    rows = [write_pair(tmp_path, scene, seconds=times) for scene, times in seconds.items()]
    write_list(tmp_path, "test", rows)
    cache = DecodedCache(tmp_path / "cache")
    pictures = decode_pairs(select_split(tmp_path, "test", cache), cache)
    (scores,) = score_pictures([baseline_restorer()], pictures, [PROTOCOLS["float"]])
    assert [score.ratio for score in scores["float"]] == [100.0, 100.0]


def test_each_picture_is_restored_and_read_once(pictures, monkeypatch) -> None:
    restored: list[str] = []
    loaded: list[tuple[str, bool]] = []
    steps: list[tuple[int, int]] = []

    def counting(name: str, balanced: bool) -> Restorer:
        def restore(mosaic: torch.Tensor) -> torch.Tensor:
            restored.append(name)
            return torch.full((1, 3, *mosaic.shape[-2:]), float(mosaic.mean()))

        return Restorer(restore=restore, white_balanced_input=balanced)

    def counting_load(self: DecodedPair, balanced: bool, device: str) -> Pair:
        loaded.append((self.name, balanced))
        return load(self, balanced, device)

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


def test_amplifying_alone_is_given_the_white_balance(pictures) -> None:
    (found,) = score_pictures([baseline_restorer()], pictures, [PROTOCOLS["float"]])
    assert baseline_restorer().white_balanced_input
    assert all(math.isfinite(image.psnr_db) and 0 <= image.ssim <= 1 for image in found["float"])


SMALL = Genome(
    skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)


def test_float_is_what_trials_are_scored_by(sid_sample, tmp_path) -> None:
    torch.manual_seed(0)
    model = build_model(SMALL).eval()
    cache = DecodedCache(tmp_path)
    pictures = decode_pairs(select_split(sid_sample, "test", cache)[:2], cache)
    (found,) = score_pictures(
        [network_restorer(model, white_balanced_input=True)], pictures, [PROTOCOLS["float"]]
    )
    expected = score_images(model, [picture.load(True) for picture in pictures])
    for ours, theirs in zip(found["float"], expected, strict=True):
        assert (ours.name, ours.psnr_db) == (theirs.name, theirs.psnr_db)
        assert ours.ssim == pytest.approx(theirs.ssim, abs=1e-12)


def test_ssim_of_the_published_mo_on_real_pictures_is_scikit_images(
    sid_sample, shared, tmp_path
) -> None:
    from space import load_reference_checkpoint

    model = load_reference_checkpoint("MO", str(shared / "reference" / "mo_checkpoint.pt"))
    assert model.genome == BASELINES["MO"]
    cache = DecodedCache(tmp_path)
    (picture,) = decode_pairs(select_split(sid_sample, "test", cache)[:1], cache)
    restorer = network_restorer(model, white_balanced_input=False)
    pair = picture.load(False)
    with torch.no_grad():
        output = restorer.restore(pair.mosaic)
    for name in ("float", "uint8"):
        found = score(output, pair.target, PROTOCOLS[name])
        ours, theirs = (as_numpy(image) for image in (output, pair.target))
        peak = 1
        if name == "uint8":
            ours, theirs, peak = (
                (ours * 255).astype(np.uint8),
                (theirs * 255).astype(np.uint8),
                255,
            )
        assert found["psnr_db"] == pytest.approx(
            peak_signal_noise_ratio(theirs, ours, data_range=peak), abs=1e-4
        )
        for metric, how in WINDOWS.items():
            expected = structural_similarity(theirs, ours, data_range=peak, channel_axis=2, **how)
            assert found[metric] == pytest.approx(expected, abs=1e-4)
    assert found["psnr_db"] == pytest.approx(
        float(psnr_db(output, pair.target, peak=1.0)), abs=0.2
    )
