"""What a model process is made of: engines, and generation on them."""
