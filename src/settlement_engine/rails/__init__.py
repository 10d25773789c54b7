"""The ways to the banks.

Promises: an adapter classifies what a bank says into the page's events and never decides. What is not a
definite word of the bank is silence, and silence is not reported. Must never: invent a no, change the
bytes recorded with P, or make a reference of its own for a payment.
"""
