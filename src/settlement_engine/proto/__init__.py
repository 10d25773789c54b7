"""What goes over the wire: ``settlement.proto`` and what ``make proto`` generates from it."""
