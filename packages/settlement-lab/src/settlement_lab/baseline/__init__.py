"""What the database server itself can carry, to be measured beside the engine on the same server."""
