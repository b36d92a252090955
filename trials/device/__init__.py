"""The device that a trial runs on: its lock, memory, precision and errors."""
