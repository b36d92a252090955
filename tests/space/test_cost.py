"""Cost: the published figures, exactly; and the counts of an independent method on random genomes."""

import random

import pytest
import torch

from space import BASELINE_FACTS, BASELINES, DesignSpace, build_model, count_cost


@pytest.mark.parametrize("name", BASELINES)
def test_seeds_cost_what_was_published(name):
    cost = count_cost(BASELINES[name], 512, 512)
    assert cost.parameters == BASELINE_FACTS[name].parameters
    assert cost.macs / 1e9 == pytest.approx(BASELINE_FACTS[name].gmacs, abs=1e-12)


def by_hooks(genome, height, width):
    """MACs counted by watching every convolution run on the whole frame."""
    model, total = build_model(genome).eval(), 0

    def count(module, inputs, output):
        nonlocal total
        kernel = module.in_channels // module.groups * module.kernel_size[0] ** 2
        total += output.numel() * kernel

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, 1, height, width))
    return total


@pytest.mark.parametrize("seed", range(6))
def test_macs_of_a_tile_scale_to_the_frame(seed):
    space = DesignSpace()
    params = space.sample(random.Random(seed))
    for scale in (
        8,
        16,
        32,
        64,
    ):  # no "rep": folding makes one convolution of two, which the hooks can't know
        params[f"s{scale}_block"] = "rdb"
    params["skip_block"] = params["fine_block"] = "residual"
    genome = space.decode(params)
    cost = count_cost(genome, 128, 192)
    assert (cost.height, cost.width) == (128, 192)
    assert cost.macs == by_hooks(genome, 128, 192) == sum(cost.parts.values())


def test_shape_is_rounded_up_to_what_the_network_takes():
    cost = count_cost(BASELINES["MO"], 500, 513)
    assert (cost.height, cost.width) == (512, 544)


def test_parts_of_mo_are_where_its_work_is():
    cost = count_cost(BASELINES["MO"], 512, 512)
    assert set(cost.parts) == {"skip", "stem32", "chain32", "up32", "merge", "head"}
    assert cost.parts["head"] / cost.macs == pytest.approx(0.43, abs=0.01)


def test_counting_leaves_the_random_state_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    count_cost(BASELINES["MO"], 64, 64)
    assert torch.equal(torch.get_rng_state(), before)


def test_small_networks_are_within_reach():
    """A space that can't shrink head and trunk can't beat MO's latency."""
    mo = count_cost(BASELINES["MO"], 512, 512).macs
    generator, space = random.Random(0), DesignSpace()
    small = [
        space.decode(
            {
                **space.sample(generator),
                "s8": "off",
                "s16": "off",
                "s32": "off",
                "s64": "off",
                "head": "add",
                "head_kernel": 3,
                "skip_blocks": 1,
            }
        )
        for _ in range(20)
    ]
    assert min(count_cost(genome, 512, 512).macs for genome in small) < mo / 4
