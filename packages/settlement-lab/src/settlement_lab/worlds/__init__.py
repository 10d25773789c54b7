"""Whole engines in simulated worlds: virtual time, seeded faults, and a bank's ledger as the truth.

An engine is assembled here as ``app`` does it, with the store in memory. Nothing waits for real time, and
a seed always gives the same history.
"""
