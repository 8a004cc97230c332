"""A promise that learns on live traffic, simulated: how often it is false, what it costs, and when a change closes it.

Every decision is the product's (tandem/method/promise); only the counts are kept in memory.
"""
