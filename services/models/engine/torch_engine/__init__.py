"""transformers as an engine, with attention and int8 weights of our own."""
