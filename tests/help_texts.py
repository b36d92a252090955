"""Each command's --help, read once: it takes seconds, and two tests need it."""

import functools
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


@functools.cache
def help_of(module):
    """The whole help of a command."""
    words = [sys.executable, "-m", module, "--help"]
    return subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout
