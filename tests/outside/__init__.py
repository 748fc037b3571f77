"""Methods that lie outside the program, as a person would write them."""
