"""Whole engines in simulated worlds: virtual time, seeded faults, and a bank whose book is compared at the end.

An engine is put together here as ``app`` does it, on the store in memory. Nothing waits for real time, and
a seed always gives the same history.
"""
