"""What the engine knows: pure decisions, without input or output, clock or chance."""
