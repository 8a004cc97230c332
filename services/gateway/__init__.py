"""The public door: checks a request, starts its workflow, streams what happens."""
