"""Networks in files: what is written of them, what is read back, and what none may do."""
