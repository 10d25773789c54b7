"""Work on breaks: what people and the engine do about a difference, who may do it, and when it is due.

Promises: a break's state follows from its events, which are only appended; whatever changes a balance needs two
people. Must never: read a clock, or move money itself.
"""
