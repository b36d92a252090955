"""Mutated inputs of every kind that the program takes from outside, and what must hold of those
that it accepts.
"""
