"""Pictures of a stored study. Of our packages only nas.study is imported, which reads it."""
