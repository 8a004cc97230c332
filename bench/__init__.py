"""Figures: each program here prints one, with n, and writes it to bench/results with the machine's facts."""
