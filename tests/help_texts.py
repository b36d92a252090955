"""What each command's --help says, asked once: it takes seconds, and two tests read it."""

import functools
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


@functools.cache
def help_of(module):
    """The whole text; fails where the command does."""
    words = [sys.executable, "-m", module, "--help"]
    return subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout
