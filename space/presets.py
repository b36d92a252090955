"""MO, M1 and M2, the published networks, as genomes: the first three points of every search."""

from __future__ import annotations

from dataclasses import dataclass

from space.genome import Branch, Genome


def _rdb_branch(
    scale: int, *, groups: int, layers: tuple[int, ...], refine: bool = False
) -> Branch:
    return Branch(
        scale=scale,
        width=64,
        stem_groups=groups,
        block="rdb",
        blocks=len(layers),
        layers=layers[-1],
        first_layers=layers[0],
        growth=32,
        refine=refine,
    )


def _published(branches: tuple[Branch, ...], fusion: str | None) -> Genome:
    """The parts that the three share: trunk, merge and head."""
    return Genome(
        branches=branches,
        deep_width=64,
        fusion=fusion,
        skip_width=64,
        skip_block="residual",
        skip_blocks=1,
        merge_width=32,
        merge_groups=4,
        merge_shuffle=True,
        expand_kernel=3,
        head="concat",
        head_kernel=5,
        head_width=12,
        merge_channels=12,
    )


@dataclass(frozen=True, kw_only=True)
class BaselineFacts:
    """What a right implementation of a seed shows: parameters (weight norm's g and v both counted)
    and GMAC for one 512 x 512 mosaic, as fvcore counts them; and where the network was published.
    """

    parameters: int
    gmacs: float
    reference: str


BASELINES: dict[str, Genome] = {
    "MO": _published((_rdb_branch(32, groups=128, layers=(4, 5, 5)),), None),
    "M1": _published(
        (
            _rdb_branch(8, groups=64, layers=(4, 5)),
            _rdb_branch(16, groups=64, layers=(5, 5)),
            _rdb_branch(32, groups=64, layers=(5, 5)),
        ),
        "concat",
    ),
    "M2": _published(
        tuple(_rdb_branch(s, groups=64, layers=(5, 5), refine=True) for s in (8, 16, 32)), "dual"
    ),
}

_ARCHITECTURE_PROJECT = (
    "the project 'Advancing the Architecture of Restoring Extremely Dark Images in Real Time'"
)
BASELINE_FACTS: dict[str, BaselineFacts] = {
    "MO": BaselineFacts(
        parameters=784_768,
        gmacs=1.28843776,
        reference="Lamba and Mitra, Restoring Extremely Dark Images in Real Time, CVPR 2021",
    ),
    "M1": BaselineFacts(parameters=1_714_080, gmacs=4.12352512, reference=_ARCHITECTURE_PROJECT),
    "M2": BaselineFacts(parameters=2_552_672, gmacs=7.554465792, reference=_ARCHITECTURE_PROJECT),
}
