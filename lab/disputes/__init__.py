"""Small models that agree on one's own requests: where the large model says the same nothing is lost, and labels
are asked for the rest.
"""
