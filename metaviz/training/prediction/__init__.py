"""What a stored run says of examples that a person gives it."""
