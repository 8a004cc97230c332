"""Spans: sent over OTLP, and read from Jaeger."""
