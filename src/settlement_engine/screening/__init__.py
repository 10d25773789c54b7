"""Compliance and risk: whether a settlement may go ahead, asked before any funds are held.

Promises: every answer is CLEARED, PARKED or REFUSED with a refusal; what cannot be answered is silence,
and the page asks again. Must never: clear because an engine did not answer, or say more in a refusal
than its reader may know.
"""
