"""What several processes are made of."""
