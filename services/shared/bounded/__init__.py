"""Work whose cost nobody knows before, in processes with limits of time and memory. Knows nothing of what the work
is.
"""
