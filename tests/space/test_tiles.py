"""Tiles give what the whole frame gives, and cover it exactly once."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from space import (
    BASELINES,
    Branch,
    DesignSpace,
    Genome,
    InputError,
    build_model,
    fold,
    load_reference_checkpoint,
    restore,
)
from space.tiles import LARGEST_MARGIN, TILE_SIZE, margin_for, plan_tiles, receptive_field

SMALL = Genome(
    skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)
DEEP = Genome(
    branches=(Branch(scale=16, width=16, stem_groups=16, block="residual", blocks=1),),
    deep_width=16,
    skip_width=16,
    skip_block="residual",
    skip_blocks=1,
    merge_width=16,
    merge_groups=1,
    head="concat",
    head_kernel=5,
    head_width=4,
    merge_channels=4,
)


def made(genome, seed=0):
    torch.manual_seed(seed)
    return fold(build_model(genome).eval())


def mosaic_of(height, width, batch=1, seed=0):
    return torch.rand(batch, 1, height, width, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def restore_tiled(model, mosaic, *, tile_size=TILE_SIZE, margin=None):
    height, width = mosaic.shape[-2:]
    margin = margin_for(model) if margin is None else margin
    picture = mosaic.new_empty((len(mosaic), 3, height, width))
    multiple = model.size_multiple
    for tile in plan_tiles(height, width, multiple=multiple, margin=margin, tile_size=tile_size):
        region = mosaic[..., tile.rows.read, tile.columns.read]
        picture[..., tile.rows.used, tile.columns.used] = tile.restore(model, region)
    return picture


@settings(deadline=None, max_examples=80)
@given(
    height=st.integers(1, 2000).map(lambda half: 2 * half),
    width=st.integers(1, 2000).map(lambda half: 2 * half),
    multiple=st.sampled_from([8, 16, 32, 64]),
    margin=st.integers(0, 200),
    core=st.integers(0, 700),
)
def test_tiles_cover_a_frame_once_with_their_margins(height, width, multiple, margin, core):
    tile_size = 2 * -(-margin // multiple) * multiple + multiple + core
    tiles = plan_tiles(height, width, multiple=multiple, margin=margin, tile_size=tile_size)
    covered = torch.zeros(height, width, dtype=torch.int8)
    for tile in tiles:
        covered[tile.rows.used, tile.columns.used] += 1
        for span, size in ((tile.rows, height), (tile.columns, width)):
            assert span.start % multiple == 0 and 0 < span.stop - span.start <= tile_size
            assert span.stop == size or span.stop % multiple == 0
            assert span.start == 0 or span.first - span.start >= margin
            assert span.stop == size or span.stop - span.last >= margin
    assert bool((covered == 1).all())


@pytest.mark.parametrize("genome", [SMALL, DEEP], ids=["small", "deep"])
@pytest.mark.parametrize("size", [(400, 400), (390, 522), (34, 700), (2, 2)], ids=str)
def test_a_tiled_frame_is_the_whole_frame(genome, size):
    model, mosaic = made(genome), mosaic_of(*size)
    margin = margin_for(model)
    tile_size = 2 * margin + 3 * model.size_multiple
    tiled = restore_tiled(model, mosaic, tile_size=tile_size)
    assert tiled.shape == (1, 3, *size)
    assert (tiled - restore(model, mosaic)).abs().max() < 1e-5


def test_tiles_without_margins_would_show():
    model, mosaic = made(DEEP), mosaic_of(256, 256)
    assert (
        restore_tiled(model, mosaic, tile_size=128, margin=0) - restore(model, mosaic)
    ).abs().max() > 1e-3


def test_a_batch_is_restored_picture_by_picture():
    model, mosaic = made(SMALL), mosaic_of(160, 200, batch=2)
    tiled = restore_tiled(model, mosaic, tile_size=2 * margin_for(model) + 16)
    assert (tiled - restore(model, mosaic)).abs().max() < 1e-5


def test_the_published_mo_leaves_no_seams_on_real_photos(shared):
    """Below 1/255 at every pixel. Nine real crops laid together have hard edges too."""
    from trials import read_frame

    photos = sorted((shared / "sid-sample" / "Sony" / "short").glob("*.dng"))[:9]
    parts = [torch.from_numpy(read_frame(photo).normalised()) for photo in photos]
    mosaic = (
        torch.cat([torch.cat(parts[row : row + 3], 1) for row in (0, 3, 6)])[None, None]
        .mul(100)
        .clamp(max=1)
    )
    model = fold(load_reference_checkpoint("MO", shared / "reference" / "mo_checkpoint.pt"))
    whole = restore(model, mosaic)
    tiled = restore_tiled(model, mosaic, tile_size=1312)
    assert whole.std() > 0.05 and (tiled - whole).abs().max() < 1e-4 < 1 / 255


def test_receptive_fields_of_the_baselines():
    assert {name: receptive_field(build_model(BASELINES[name])) for name in BASELINES} == {
        "MO": 544,
        "M1": 448,
        "M2": 480,
    }


@pytest.mark.parametrize("seed", range(6))
def test_what_lies_beyond_the_receptive_field_changes_nothing(seed):
    space, generator = DesignSpace(), random.Random(seed)
    model = made(space.decode(space.sample(generator)), seed)
    field, multiple = receptive_field(model), model.size_multiple
    before = mosaic_of(multiple, 2 * field + multiple, seed=seed)
    after = before.clone()
    after[..., :multiple] = 1 - after[..., :multiple]  # the first cell
    changed = (model(before) != model(after)).any(dim=1).any(dim=1)[0]
    # A convolution of another build may round otherwise far away, but never by more than a
    # rounding.
    far = (model(before) - model(after)).abs()[..., field + multiple :]
    assert changed[:multiple].any() and far.max() < 1e-6


def test_a_margin_narrower_than_the_widest_receptive_fields_is_enough():
    """Networks that see further than any margin: the rim of what they see must not show."""
    genome = Genome(
        branches=(
            Branch(
                scale=64,
                width=64,
                stem_groups=64,
                block="rdb",
                blocks=3,
                layers=6,
                first_layers=6,
                growth=16,
            ),
        ),
        deep_width=32,
        skip_width=16,
        skip_block="rep",
        skip_blocks=1,
        merge_width=0,
        head="add",
        head_kernel=3,
    )
    model = made(genome)
    assert receptive_field(model) > LARGEST_MARGIN == margin_for(model)
    mosaic = mosaic_of(64, 6400)  # a narrow frame tells as much as a square one, sooner
    assert (restore_tiled(model, mosaic) - restore(model, mosaic)).abs().max() < 1e-4


def test_a_tile_without_room_for_its_margins_is_refused():
    with pytest.raises(
        InputError,
        match="a tile must be at least 1120 pixels for margins of 544, but got 600; take 1120",
    ):
        plan_tiles(2000, 600, multiple=32, margin=544, tile_size=600)


def test_odd_mosaics_are_refused():
    with pytest.raises(InputError, match="must be even"):
        restore_tiled(made(SMALL), mosaic_of(31, 64))
