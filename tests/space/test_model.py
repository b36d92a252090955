"""Networks: every point of the space builds and gives pictures; the deployed form gives the same
ones.
"""

import random

import pytest
import torch
from torch.nn import functional

from space import BASELINES, Branch, DesignSpace, Genome, InputError, build_model, fold, restore

SPACE = DesignSpace()
PLAIN = {
    "skip_width": 8,
    "skip_block": "rep",
    "skip_blocks": 1,
    "merge_width": 8,
    "merge_groups": 2,
    "head": "none",
}


def random_genomes(count, seed):
    generator = random.Random(seed)
    return [SPACE.decode(SPACE.sample(generator)) for _ in range(count)]


@torch.no_grad()
def check_builds_and_folds(genome):
    torch.manual_seed(0)
    model = build_model(genome)
    # Weights away from their start: a gain and a bias forgotten while folding must show.
    for parameter in model.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    model.eval()
    mosaic = torch.rand(2, 1, genome.size_multiple, 2 * genome.size_multiple)
    output, deployed = model(mosaic), fold(model)(mosaic)
    assert output.shape == (2, 3, *mosaic.shape[2:])
    assert output.min() >= 0 and output.max() <= 1
    assert (output - deployed).abs().max() < 1e-4


@pytest.mark.parametrize(
    "genome", random_genomes(60, seed=1), ids=lambda genome: genome.digest[:8]
)
def test_random_genomes_build_and_fold(genome):
    check_builds_and_folds(genome)


@pytest.mark.slow
def test_a_thousand_random_genomes_build_and_fold():
    for genome in random_genomes(1000, seed=2):
        check_builds_and_folds(genome)


@pytest.mark.parametrize("name", BASELINES)
def test_every_parameter_learns(name):
    """A part that no gradient reaches would be trained for nothing and counted wrongly."""
    model = build_model(BASELINES[name])
    model(torch.rand(1, 1, 64, 64)).square().mean().backward()
    dead = [
        key
        for key, value in model.named_parameters()
        if value.grad is None or not value.grad.abs().sum() > 0
    ]
    assert dead == []


@pytest.mark.parametrize("head", ["none", "add", "concat"])
@pytest.mark.parametrize("block", ["residual", "rep"])
def test_a_stage_at_4x_learns_in_every_part(head, block):
    more = {"head": head, "head_kernel": 3, "head_width": 4, "merge_channels": 4}
    genome = Genome(
        **{**PLAIN, **more}, fine_width=8, fine_block=block, fine_blocks=2, fine_kernel=1
    )
    check_builds_and_folds(genome)
    model = build_model(genome)
    model(torch.rand(1, 1, 32, 32)).square().mean().backward()
    assert all(
        value.grad is not None and value.grad.abs().sum() > 0 for value in model.parameters()
    )


@torch.no_grad()
def test_a_stage_at_4x_is_what_its_parts_say():
    genome = Genome(**PLAIN, fine_width=8, fine_block="rep", fine_blocks=1, fine_kernel=3)
    model = build_model(genome).eval()
    fine = model.fine
    mosaic = torch.rand(1, 1, 32, 48)
    packed = functional.pixel_unshuffle(functional.pixel_unshuffle(mosaic, 2), 4)
    merged = model.merge(model.skip(packed))
    assert merged.shape == (1, 8, 8, 12)  # brought to 4x, not to 2x
    at_4x = functional.pixel_unshuffle(functional.pixel_unshuffle(mosaic, 2), 2)
    features = fine.blocks(functional.leaky_relu(fine.entry(at_4x) + merged, 0.2))
    picture = functional.pixel_shuffle(functional.pixel_shuffle(fine.up[0](features), 2), 2).clamp(
        0, 1
    )
    assert torch.equal(model(mosaic), picture)


def test_without_a_stage_at_4x_there_is_nothing_of_it():
    assert not [key for key in build_model(BASELINES["MO"]).state_dict() if "fine" in key]


@pytest.mark.parametrize("fusion", ["concat", "sum", "dual", "cascade"])
def test_every_topology_uses_every_branch(fusion):
    branches = tuple(
        Branch(scale=s, width=64, stem_groups=16, block="rep", blocks=1, refine=s == 16)
        for s in (8, 16, 32, 64)
    )
    genome = Genome(branches=branches, deep_width=16, fusion=fusion, **PLAIN)
    model = build_model(genome)
    model(torch.rand(1, 1, 64, 64)).square().mean().backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0
        for parameter in model.parameters()
    )


def test_fold_leaves_the_model_as_it_was():
    model = build_model(BASELINES["MO"])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    fold(model)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model.training
    model(torch.rand(1, 1, 32, 32)).mean().backward()
    after = model.state_dict()
    assert before.keys() == after.keys() and all(
        torch.equal(before[key], after[key]) for key in before
    )


def test_training_sees_what_the_clamp_hides():
    model = build_model(BASELINES["MO"])
    with torch.no_grad():
        model.head.conv2.bias.fill_(3.0)
    mosaic = torch.rand(1, 1, 32, 32)
    assert model(mosaic).max() > 1.5
    assert model.eval()(mosaic).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(64, 64), (70, 90), (2, 2), (34, 130), (6, 64)])
def test_restore_takes_any_even_size(height, width):
    model = build_model(BASELINES["MO"]).eval()
    assert restore(model, torch.rand(1, 1, height, width)).shape == (1, 3, height, width)


def test_restore_pads_without_changing_the_cfa_phase():
    """A mosaic that is red-only must stay red-only under the network's eyes."""

    class Spy(torch.nn.Module):
        size_multiple = 32

        def forward(self, mosaic):
            self.seen = mosaic
            return mosaic.expand(-1, 3, -1, -1)

    spy = Spy()
    mosaic = torch.zeros(1, 1, 40, 46)
    mosaic[..., 0::2, 0::2] = 1
    restore(spy, mosaic)
    assert spy.seen.shape == (1, 1, 64, 64)
    assert spy.seen[..., 0::2, 0::2].min() == 1 and spy.seen.sum() == 32 * 32


def test_restore_of_a_whole_multiple_is_the_network_itself():
    model = build_model(BASELINES["MO"]).eval()
    mosaic = torch.rand(1, 1, 64, 96)
    with torch.no_grad():
        assert torch.equal(restore(model, mosaic), model(mosaic))


def test_wrong_sizes_are_told():
    model = build_model(BASELINES["MO"])
    with pytest.raises(
        InputError, match=r"multiples of 32 for this network, but got 40 x 64; .*: 64 x 64"
    ):
        model(torch.rand(1, 1, 40, 64))
    with pytest.raises(
        InputError, match=r"a mosaic must be b 1 H W, but got shape \(1, 3, 64, 64\)"
    ):
        model(torch.rand(1, 3, 64, 64))
    with pytest.raises(InputError, match="must be even, but got 33 x 64"):
        restore(model, torch.rand(1, 1, 33, 64))
