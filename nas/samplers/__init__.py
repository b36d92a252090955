"""Who proposes the next network."""
