"""An installation for development: embedded servers, engines and the bank simulator, each a process of its own."""
