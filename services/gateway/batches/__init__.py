"""Batches and their files as the gateway serves them: checks every line of a file, and starts one workflow for all."""
