"""What travels between banks: messages as bytes and as values, and nothing that sends them.

Promises: what is read here keeps every field that it must, or is refused with the place of the fault; each
reader has a bound on size and depth and takes one pass. What is built here reads back as the same values.
Must never: ask anybody anything, keep anything, or take an unknown word for success. Rails and statements
stand above this layer; it knows the domain's money and nothing of settlements.
"""
