"""Benchmarks: each program measures one figure, with n, and writes it to bench/results with facts about the machine."""
