"""Real pairs, from verdicts on published programs (docs/pairs.md): what a fixed rule saves and loses, and what a
promise costs.
"""
