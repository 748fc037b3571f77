"""Help that a person reads: a glossary, tutorials, and a topic for whatever can be chosen."""
