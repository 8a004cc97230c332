"""Temporal's remote codec: decrypts payloads for Temporal's page and command line, and for an admin only."""
