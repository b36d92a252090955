"""Samplers: what proposes the next network."""

from nas.samplers.parameters import distributions, random_genome, suggest
from nas.samplers.registry import (
    AUTO,
    SAMPLERS,
    Request,
    choose_sampler,
    make_sampler,
    usable_sampler,
)

__all__ = [
    "AUTO",
    "SAMPLERS",
    "Request",
    "choose_sampler",
    "distributions",
    "make_sampler",
    "random_genome",
    "suggest",
    "usable_sampler",
]
