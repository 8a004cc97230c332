"""The sandbox: one fresh process per call, forked from a server without secrets, behind the layers that this kernel
has.

It knows nothing of checks. `processes` is the side of the service, `fork_server` the other side.
"""
