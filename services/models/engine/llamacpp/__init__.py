"""llama.cpp as an engine, and GGUF files."""
