"""The method as a Temporal workflow: solve.py reads as the picture; stop_rule, cost and answer are pure."""
