"""What carries bytes to a bank and back, and knows whether any byte left.

Promises: a transport says *nothing was sent* only where that is proved, and says *no response* in every other
case that did not end with a whole response. Every wait, body and listing has a named bound. Must never: read
what it carries, decide what a response means for a payment, or send the same bytes again by itself.
"""
