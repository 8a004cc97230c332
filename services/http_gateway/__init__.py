"""OpenAI's chat API over HTTP: a client of the gateway, with no state of its own."""
