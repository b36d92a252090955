"""The search loop: propose, look for repeats, run, report."""
