"""What a search displays while it runs and when it ends."""
