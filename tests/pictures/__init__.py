"""How the window and its figures look: checked by rules, and drawn for people."""
