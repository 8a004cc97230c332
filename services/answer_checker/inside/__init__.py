"""What runs inside the sandbox: the answer in one process, the examples with what they expect in another.

The answer's process can lie about results only by computing them: it never sees what is expected.
"""
