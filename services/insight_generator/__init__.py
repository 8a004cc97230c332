"""The large model's process: writes insight in stages until it is stopped."""
