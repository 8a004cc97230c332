"""What a request costs, has cost, and can cost at most."""
