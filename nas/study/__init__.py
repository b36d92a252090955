"""A study: its config, its storage, what it holds and how that is read. Needs no torch."""
