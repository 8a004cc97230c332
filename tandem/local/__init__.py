"""The local stack: every process of the system on this machine, and the models that they run."""
