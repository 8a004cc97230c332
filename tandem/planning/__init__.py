"""Does a pair pay, and how many pods does it need: figures before anything runs (docs/plan.md)."""
