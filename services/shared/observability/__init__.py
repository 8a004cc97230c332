"""Spans and metrics: what a process reports about requests, tokens and cost."""
