"""The method, pure: profile, prompts, prices, plan, stop rule, cost and answer. Knows neither gRPC nor Redis nor
Temporal.
"""
