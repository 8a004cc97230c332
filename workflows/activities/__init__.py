"""The activities, one file per role: each is one call to one service or to the request log, and none retries by
itself.
"""
