"""Messages between banks, as bytes and as values, without any transport.

Promises: reading keeps every required field, or refuses the message with the position of the fault; every reader
has limits on size and depth, and takes one pass. A built message reads back as the same values. Must never: call
another system, store anything, or take an unknown code for success. Rails and statements are layers above this
one; it knows the domain's money, and nothing about settlements.
"""
