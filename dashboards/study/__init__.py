"""A stored study, opened to be read and never to be written."""
