"""The rails: adapters through which payments reach the banks.

Promises: an adapter classifies what a bank says into events of the state machine and never decides. Whatever is
not a clear statement of the bank counts as no response and is not reported. Must never: invent a rejection,
change the bytes recorded with the send intent, or create a reference of its own for a payment.
"""
