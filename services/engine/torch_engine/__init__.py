"""transformers as an engine, with attention, int8 weights and compiled code of our own."""
