"""Engines whose scheduler is not ours: vLLM, and APIs. They share the admission of requests."""
