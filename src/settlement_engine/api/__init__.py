"""The wire: gRPC and JSON in front of the engine, with one implementation behind both.

This room promises that whatever comes in is checked against a strict grammar before anything is written,
that a refusal is an answer and an error names its cause, and that a caller who goes away changes nothing.
It must never decide about money, and never tell a caller what went on inside.
"""
