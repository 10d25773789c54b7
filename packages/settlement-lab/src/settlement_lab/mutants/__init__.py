"""The engine's safeguards, removed one at a time: the simulated worlds must detect each removal."""
