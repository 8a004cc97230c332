"""What is asked, what is planned for it, and what it came to."""
