"""What tells whether an answer is right."""
