"""A study: its config, its database, what it holds (schema.py) and how that is read.

Importing this loads no torch and no Optuna; the modules do the rest.
"""

from space import InputError

__all__ = ["InputError"]
