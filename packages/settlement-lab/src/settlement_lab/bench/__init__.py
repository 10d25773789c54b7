"""The bench: measures what an installation can do from outside, next to the limit of the machine.

Promises: a separate process produces the load over the public API. Each figure is compared with the
minimal durable SQL of a settlement, on the same server in the same run. Only real results are counted:
final states are read from the store, announcements from JetStream.

It must never be used on an installation that holds real money.
"""
