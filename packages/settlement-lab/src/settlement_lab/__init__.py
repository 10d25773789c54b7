"""Tests and measures the engine: simulated worlds, the model, schedules, mutants, bench and demo.

It is a distribution of its own and must never be installed where a bank's money is: it invents
settlements, removes safeguards from a running program on purpose, and kills engines. It may import all
modules of the engine. The engine must not import it: it finds the lab's commands by entry points, which
may be missing.
"""
