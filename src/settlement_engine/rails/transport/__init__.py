"""Transports: they carry bytes to a bank and back, and know whether any byte was sent.

Promises: the result is *nothing sent* only if that is proved, and *no response* in every other case without a
complete response. Every wait, body and listing has a limit with a name. Must never: interpret the bytes, decide
what a response means for a payment, or send the same bytes again by itself.
"""
