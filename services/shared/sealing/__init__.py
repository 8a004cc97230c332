"""Encryption of what is kept of a request, by keys of the operator's."""
