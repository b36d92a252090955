"""Genomes: canonical, strict, and the same after JSON and parameter round trips."""

import json
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from space import BASELINES, Branch, DesignSpace, Genome, InputError

SPACE = DesignSpace()
params = st.fixed_dictionaries({gene.name: st.sampled_from(gene.choices) for gene in SPACE.genes})
PLAIN = {
    "skip_width": 48,
    "skip_block": "residual",
    "skip_blocks": 2,
    "merge_width": 0,
    "head": "add",
    "head_kernel": 3,
}
RDB = {
    "scale": 32,
    "width": 64,
    "stem_groups": 64,
    "block": "rdb",
    "blocks": 2,
    "layers": 5,
    "growth": 32,
}


@given(params)
@settings(max_examples=300, deadline=None)
def test_every_combination_decodes_and_survives_both_round_trips(values):
    genome = SPACE.decode(values)
    assert SPACE.decode(SPACE.encode(genome)) == genome
    again = Genome.from_json(genome.to_json())
    assert again == genome and again.digest == genome.digest
    assert set(SPACE.encode(genome)) == set(values)


@given(params, params)
@settings(max_examples=100, deadline=None)
def test_digests_are_equal_exactly_when_genomes_are(one, other):
    a, b = SPACE.decode(one), SPACE.decode(other)
    assert (a.digest == b.digest) == (a == b)


@given(params)
@settings(max_examples=300, deadline=None)
def test_genes_of_an_absent_branch_do_not_act(values):
    other = random.Random(1)
    changed = dict(values)
    for gene in SPACE.genes:
        scale = gene.name.split("_")[0]
        if "_" in gene.name and changed.get(scale) == "off":
            changed[gene.name] = other.choice(gene.choices)
    assert SPACE.decode(changed) == SPACE.decode(values)


def test_dropped_genes():
    lone = Genome(
        branches=(Branch(**RDB),),
        deep_width=32,
        fusion="sum",
        **PLAIN,
        head_width=8,
        merge_channels=8,
    )
    assert lone.fusion is None  # a single branch meets nobody
    assert lone.head_width is None and lone.merge_channels is None and lone.merge_groups is None
    assert Branch(**{**RDB, "block": "rep"}).growth is None
    assert Branch(**{**RDB, "blocks": 0}).block is None
    assert Branch(**{**RDB, "blocks": 0, "refine": True}).layers == 5
    assert Branch(**{**RDB, "blocks": 1, "first_layers": 4}) == Branch(
        **{**RDB, "blocks": 1, "layers": 4}
    )
    for nothing in (
        {},
        {"fine_width": 0},
        {"fine_width": 0, "fine_block": "rep", "fine_blocks": 2, "fine_kernel": 3},
    ):
        assert (
            Genome(**PLAIN, **nothing) == Genome(**PLAIN)
            and "fine_width" not in Genome(**PLAIN, **nothing).to_dict()
        )
    assert (
        Genome(**PLAIN, fine_width=8, fine_blocks=0, fine_block="rep", fine_kernel=1).fine_block
        is None
    )
    both = (Branch(**RDB), Branch(**{**RDB, "scale": 16}))
    assert (
        Genome(branches=both, deep_width=32, fusion="dual", **PLAIN).fusion == "concat"
    )  # nothing is refined


def test_digests_outlive_new_genes():
    """Stored studies, exports and trainings tell networks apart by them."""
    known = {"MO": "2e3738f216e9ff6c", "M1": "525e5834ad51e0e6", "M2": "03dd97a75158c627"}
    assert {name: genome.digest for name, genome in BASELINES.items()} == known


def test_branches_keep_one_order():
    two = [Branch(**{**RDB, "scale": scale}) for scale in (16, 32)]
    genomes = [
        Genome(branches=tuple(order), deep_width=8, fusion="sum", **PLAIN)
        for order in (two, two[::-1])
    ]
    assert genomes[0] == genomes[1] and genomes[0].digest == genomes[1].digest


@pytest.mark.parametrize("name", BASELINES)
def test_seeds_are_points_of_the_space(name):
    assert SPACE.decode(SPACE.encode(BASELINES[name])) == BASELINES[name]


def seed_json(**changes):
    return json.dumps({**BASELINES["MO"].to_dict(), **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a genome must be JSON, but reading it gave"),
        ("[1]", "a genome must be a JSON object, but got [1]"),
        (seed_json(colour=3), "genome: unknown gene 'colour'; there are branches, deep_width"),
        (seed_json(schema=2), "genome: schema must be 1, but got 2; it was written by a newer"),
        (seed_json(schema=True), "genome: schema must be 1, but got True"),
        (
            seed_json(skip_width=0),
            "genome: skip_width must be a whole number from 1 to 512, but got 0",
        ),
        (
            seed_json(skip_width=64.0),
            "genome: skip_width must be a whole number from 1 to 512, but got 64.0",
        ),
        (
            seed_json(skip_width=True),
            "genome: skip_width must be a whole number from 1 to 512, but got True",
        ),
        (seed_json(head="big"), "genome: head must be one of none, add, concat, but got 'big'"),
        (
            seed_json(head=["add"]),
            "genome: head must be one of none, add, concat, but got ['add']",
        ),
        (seed_json(head_kernel=4), "genome: head_kernel must be 1, 3 or 5, but got 4"),
        (seed_json(expand_kernel=5), "genome: expand_kernel must be 1 or 3, but got 5"),
        (seed_json(merge_groups=5), "genome: merge_groups must divide 128 and 32, but got 5"),
        (
            seed_json(merge_shuffle="yes"),
            "genome: merge_shuffle must be true or false, but got 'yes'",
        ),
        (
            seed_json(fine_width=8),
            "genome: fine_blocks must be a whole number from 0 to 8, but got None",
        ),
        (
            seed_json(fine_width=8, fine_blocks=1, fine_kernel=5),
            "genome: fine_kernel must be 1 or 3, but got 5",
        ),
        (
            seed_json(fine_width=8, fine_blocks=1, fine_kernel=1, fine_block="rdb"),
            "genome: fine_block must be one of residual, rep",
        ),
        (
            seed_json(fine_width=False),
            "genome: fine_width must be a whole number from 0 to 512, but got False",
        ),
        (seed_json(branches=3), "genome: branches must be a list, but got 3"),
        (seed_json(branches=[3]), "genome: every branch must be a JSON object, but got 3"),
        (seed_json(branches=[{"scale": 24}]), "genome: branch gene 'width' is missing"),
        (
            seed_json(branches=[{**RDB, "scale": 24}]),
            "genome: scale must be one of 8, 16, 32, 64, but got 24",
        ),
        (
            seed_json(branches=[{**RDB, "width": 40}]),
            "genome: branch 32x width must be a multiple of 16, but got 40",
        ),
        (
            seed_json(branches=[{**RDB, "stem_groups": 48}]),
            "genome: branch 32x stem_groups must divide 1024 and 128",
        ),
        (seed_json(branches=[{**RDB, "depth": 1}]), "genome: unknown branch gene 'depth'"),
        (
            seed_json(branches=[RDB, RDB]),
            "genome: every scale may be used by one branch only, but got [32, 32]",
        ),
    ],
)
def test_wrong_genomes_are_told_in_one_line(text, message):
    with pytest.raises(InputError) as caught:
        Genome.from_json(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"s32_blocks": 5}, "design space: s32_blocks must be one of (0, 1, 2, 3, 4), but got 5"),
        (
            {"s32_blocks": "2"},
            "design space: s32_blocks must be one of (0, 1, 2, 3, 4), but got '2'",
        ),
        ({"s128": "on"}, "design space: unknown gene 's128'; see python -m nas.describe --space"),
    ],
)
def test_wrong_parameters_are_told(changes, message):
    with pytest.raises(InputError, match=".*") as caught:
        SPACE.decode({**SPACE.encode(BASELINES["MO"]), **changes})
    assert message in str(caught.value)


def test_a_missing_parameter_is_told():
    values = SPACE.encode(BASELINES["MO"])
    del values["fusion"]
    with pytest.raises(InputError, match="gene 'fusion' is missing"):
        SPACE.decode(values)


def test_a_genome_outside_of_the_space_has_no_parameters():
    outside = Genome(**{**PLAIN, "skip_width": 20})
    with pytest.raises(
        InputError, match="skip_width must be one of .*, but got 20; this genome can be trained"
    ):
        SPACE.encode(outside)


def test_importing_space_loads_no_torch():
    code = (
        "import sys, space; space.BASELINES['MO'].digest; assert 'torch' not in sys.modules, "
        "'torch is loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
