"""Photos as scenes: read, cut, and brought back to the light that the camera saw."""
