"""The scripted bank: a separate process that speaks the rails' protocols and can misbehave by a script.

Promises: its ledger, in its own file, records what *the bank* received and debited, and loses nothing at
``kill -9``; a payment that it recognises is debited at most once; the same seed and the same script give
the same behaviour. Must never: call the engine's API, share code with the rails that it tests, or be used
as a bank in production.
"""
