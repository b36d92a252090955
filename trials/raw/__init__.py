"""Raw files in, picture files out: what a camera wrote, checked, and brought into one form."""
