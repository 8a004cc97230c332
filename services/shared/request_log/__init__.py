"""The request log in Redis: one request's streams, each with one writer at a time and any number of readers."""
