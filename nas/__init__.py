"""The study: which genomes to try next, what each trial gave, and the commands around it.

`nas` knows Optuna and asks `trials` to train and measure one genome; nothing below knows about it.
"""
