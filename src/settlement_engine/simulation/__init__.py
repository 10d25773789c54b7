"""Proof by trial: the model of the page, whole engines in simulated worlds, and what must be caught.

It builds engines out of the rooms, as ``app`` does, and is never part of a running one.
"""
