"""The scripted bank: a process of its own that speaks the rails' protocols and misbehaves on purpose.

Promises: its ledger, in a file of its own, records what *the bank* received and debited, and forgets nothing at
``kill -9``; a payment that it recognises is debited at most once; the same seed and script meet the same luck.
Must never: ask the engine anything, share code with the rails that it judges, or run as a bank of production.
"""
