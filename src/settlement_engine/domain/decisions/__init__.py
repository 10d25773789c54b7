"""Decisions: which event of the state machine an answer is, in the one place where events are chosen.

Each module here is pure: it reads values of the domain, the rail's rules and the time it is given, and says
which event applies. The table of transitions (``domain/lifecycle.py``) says what follows from it. No module
outside of these two may choose an event; others only pass on what a rail, screening, a caller or two people
reported. ``tests/unit/domain/decisions/test_nowhere_else.py`` checks this.

=====================  =================================================================================
``before_the_end``     an answer about a settlement that is open
``after_the_end``      an answer about one that has ended: a repeat, a contradiction, a return
``resending``          the rules of a rail: may the same bytes be sent again
``screened``           what screening said, together with our own preconditions
``turned_down``        the event to write instead of a transition that a guard of the ledger refused
``taken_over``         a settlement whose engine is gone, or whose wait is over
``people``             which statement wins when two people attest an outcome and the bank reports one
``history``            answers whose meaning depends on the settlement's history
``reasons``            the refusal that goes with an event that ends a settlement without money moved
=====================  =================================================================================
"""
