"""What all commands share: flags, one-line errors, signals, and what a NETWORK may be."""

from nas.cli.console import make_console, progress_bar
from nas.cli.networks import NAMED, Network, load_network, read_genome
from nas.cli.parser import (
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    Parser,
    add_storage_arguments,
    explain,
    is_disk_full,
    one_line,
    run,
)
from nas.cli.signals import StopSignal

__all__ = [
    "EXIT_INPUT",
    "EXIT_INTERRUPTED",
    "NAMED",
    "StopSignal",
    "Network",
    "Parser",
    "add_storage_arguments",
    "explain",
    "is_disk_full",
    "load_network",
    "make_console",
    "one_line",
    "progress_bar",
    "read_genome",
    "run",
]
