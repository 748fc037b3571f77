"""What the theory asks of stored runs: numbers that need their network and their tasks."""
