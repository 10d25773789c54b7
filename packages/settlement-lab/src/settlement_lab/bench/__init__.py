"""The bench: what an installation carries, measured from outside, next to what the machine could carry.

Promises: load comes from a process of its own, over the public API; every figure stands next to the
least durable SQL of a settlement on the same server in the same run, so that it is also a ratio; nothing
is counted that did not happen: what ends is read from the store, what was announced from JetStream.

It must never be pointed at an installation that holds real money.
"""
