"""``dev``: PostgreSQL, NATS and engines on this machine, kept alive.

Promises: everything it starts dies with it, whatever dies before is started again in the same place,
and its address file is true. It never serves real money.
"""
