"""The composition root: the only component that imports all others; it builds them from the configuration.

Promises: it refuses to start without assertions, on an unsafe database, or on a schema of an unsupported
version. On SIGTERM it accepts nothing more, parks open settlements, publishes what is committed, and exits
with 0. The commands reach the components only through its modules, each of which imports what it builds and
nothing more. It must never decide about money.
"""
