"""What all commands share: flags, one-line errors, signals, and what a NETWORK may be."""

from nas.cli.networks import NAMED, Network, load_network, read_genome
from nas.cli.parser import (
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    Parser,
    explain,
    is_disk_full,
    one_line,
    run,
)
from nas.cli.signals import Asked

__all__ = [
    "EXIT_INPUT",
    "EXIT_INTERRUPTED",
    "NAMED",
    "Asked",
    "Network",
    "Parser",
    "explain",
    "is_disk_full",
    "load_network",
    "one_line",
    "read_genome",
    "run",
]
