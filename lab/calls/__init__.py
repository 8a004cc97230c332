"""Calls of tools: what both models of a pair call in tasks with known answers, and how sure the small one is."""
