"""Benchmarks: each program measures one figure, with n, and writes it to lab/bench/results with facts about the
machine.
"""
