"""Parts: counts as an independent trace and the built networks have them; a registry of blocks."""

import logging
import random
import re
import warnings

import pytest
import torch
from torch import nn

from space import BASELINES, DesignSpace, Genome, build_model, count_cost, fold, network_parts
from space.blocks import BLOCKS
from space.layers import MODULES

with warnings.catch_warnings():  # fvcore compiles its losses on import, which torch deprecates
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis

SPACE = DesignSpace()


def sampled(seed: int) -> Genome:
    return SPACE.decode(SPACE.sample(random.Random(seed)))


def traced(genome):
    """MACs of each part, of one cell of the mosaic, as fvcore counts the deployed network."""
    model, side = fold(build_model(genome)), genome.size_multiple
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analysis = FlopCountAnalysis(model, torch.zeros(1, 1, side, side))
        by_module = analysis.unsupported_ops_warnings(False).by_module()
    parts = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            name = path.split(".")[0].replace("skip", "trunk").replace("deep", "fuse")
            if found := re.match(r"deep\.branches\.(\d)\.(\w+)", path):
                name = f"{found[2]}{genome.branches[int(found[1])].scale}"
            parts[name] = parts.get(name, 0) + int(by_module[path])
    assert sum(parts.values()) == by_module[""]
    return parts


@pytest.mark.parametrize(
    "genome", [*BASELINES.values(), *map(sampled, range(30))], ids=lambda genome: genome.digest[:8]
)
def test_counts_are_those_of_the_network(genome):
    side = genome.size_multiple
    cost, model = count_cost(genome, side, side), build_model(genome)
    assert cost.parts == traced(genome) and cost.macs == sum(cost.parts.values())
    assert cost.parameters == sum(one.numel() for one in model.parameters())
    assert cost.deployed_parameters == sum(one.numel() for one in fold(model).parameters())
    twice = count_cost(genome, 3 * side, 2 * side)
    assert twice.parts == {name: 6 * macs for name, macs in cost.parts.items()}


@pytest.mark.parametrize(
    ("name", "parameters", "gmac"),
    [("MO", 784_768, 1.28843776), ("M1", 1_714_080, 4.12352512), ("M2", 2_552_672, 7.554465792)],
)
def test_baselines_cost_what_was_published(name, parameters, gmac):
    cost = count_cost(BASELINES[name], 512, 512)
    assert (cost.parameters, cost.macs / 1e9) == (parameters, pytest.approx(gmac, abs=1e-12))


def test_shape_is_rounded_up_to_what_the_network_takes():
    cost = count_cost(BASELINES["MO"], 500, 513)
    assert (cost.height, cost.width) == (512, 544)


def test_parts_of_mo_are_where_its_work_is():
    cost = count_cost(BASELINES["MO"], 512, 512)
    assert list(cost.parts) == ["trunk", "stem32", "chain32", "up32", "merge", "head"]
    assert cost.parts["head"] / cost.macs == pytest.approx(0.43, abs=0.01)


@pytest.mark.parametrize("seed", range(40))
def test_every_part_has_a_name_words_and_its_channels(seed):
    parts = network_parts(sampled(seed))
    assert len({part.name for part in parts}) == len(parts)
    for part in parts:
        assert part.text and (part.captions or part.name == "head")
        assert part.channels or not part.convolutions, part


def test_small_networks_are_within_reach():
    """A space that can't shrink head and trunk can't beat MO's latency."""
    mo = count_cost(BASELINES["MO"], 512, 512).macs
    generator = random.Random(0)
    off = {"s8": "off", "s16": "off", "s32": "off", "s64": "off"}
    small = {**off, "head": "add", "head_kernel": 3, "skip_blocks": 1}
    genomes = [SPACE.decode({**SPACE.sample(generator), **small}) for _ in range(20)]
    assert min(count_cost(genome, 512, 512).macs for genome in genomes) < mo / 4


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_registered_block_is_a_network_everywhere(kind):
    """What a new kind of block must show: it builds, learns, folds, is counted and described."""
    assert MODULES.keys() == BLOCKS.keys()
    values = {**SPACE.encode(BASELINES["M2"]), "s32_block": kind}
    if not BLOCKS[kind].is_dense:
        values |= {"skip_block": kind, "fine_width": 8, "fine_blocks": 2, "fine_block": kind}
    genome = SPACE.decode(values)
    assert SPACE.encode(genome)["s32_block"] == kind
    torch.manual_seed(0)
    model, mosaic = build_model(genome), torch.rand(1, 1, 64, 64)
    model(mosaic).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    with torch.no_grad():
        assert (fold(model)(mosaic) - model.eval()(mosaic)).abs().max() < 1e-4
    assert count_cost(genome, 64, 64).parts == {n: 4 * m for n, m in traced(genome).items()}
    chain = next(part for part in network_parts(genome) if part.name == "chain32")
    assert chain.captions[0] == f"2 x {BLOCKS[kind].label}"
