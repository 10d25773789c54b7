"""What tries the engine and measures it: simulated worlds, the model, schedules, mutants, bench, demo.

A distribution of its own, so that nothing of it is where a bank's money is: it invents settlements, takes
safeguards out of a running program on purpose, and kills engines. It may import everything of the engine;
the engine knows it only as an entry point that may be missing.
"""
