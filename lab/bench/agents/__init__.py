"""Coding agents as people install them, before a scripted vendor: `make agents`."""
