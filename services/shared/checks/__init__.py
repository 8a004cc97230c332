"""The registered checks: what their arguments must be, when they apply, and how they compare. No process and no
network.

The gateway asks at admission; the answer checker runs them in its sandbox.
"""
