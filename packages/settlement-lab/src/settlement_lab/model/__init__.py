"""The model of the state machine: every state that two engines, a bank and a caller can reach.

The model reads the transition table that the engine runs by, and nothing else of the engine.
"""
