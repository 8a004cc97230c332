"""One role's generation for one request: the engine's tokens go into the request log until the end or the stop."""
