"""OpenAI's chat format: the body of a request, and the completion that answers it. Pure conversions, on either side of
a wire.
"""
