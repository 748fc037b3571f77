"""How fast the engine is on this machine, and how fast other libraries are beside it."""
