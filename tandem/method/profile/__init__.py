"""What a profile says: models, prices, stages, promise."""
