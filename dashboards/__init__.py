"""Pictures of a stored study, which is read through nas.study; nothing else of ours is imported."""
