"""Compliance and risk screening: whether a settlement may proceed, decided before any funds are held.

Promises: every answer is CLEARED, PARKED or REFUSED with a refusal; a missing answer is a timeout, and the state
machine asks again. Must never: clear a settlement because a provider did not answer, or reveal in a refusal
more than its reader may know.
"""
