"""Endpoints that people have: how they are addressed, what they can do, and the profile that follows."""
