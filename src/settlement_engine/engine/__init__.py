"""The engine: it carries out the state machine. Intake, mailbox, executor, takeover, and the engine's lease."""
