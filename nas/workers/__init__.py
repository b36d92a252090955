"""Many processes that share a search: on this machine, or on a Ray cluster."""
