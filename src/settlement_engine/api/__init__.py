"""The API: gRPC and JSON over HTTP in front of the engine, with one implementation behind both.

This component promises that every request is checked against a strict grammar before anything is written,
that a refusal is a normal answer, that an error names its cause, and that a caller who disconnects changes
nothing. It must never decide about money, and never show a caller the engine's internals.
"""
