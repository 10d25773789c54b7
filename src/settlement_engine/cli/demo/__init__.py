"""``demo``: shows the promises on this machine, crash included, in half a minute.

Promises: what it prints was looked up afterwards, in the bank's own book and in ours; a check that is
false ends it with 5. It uses the public API only, as any caller would.
"""
