"""Continuous batching in a thread of its own, for engines that only compute passes: queue, scheduler, aborts, usage,
sampling.
"""
