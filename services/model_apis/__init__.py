"""Both models in one process, where others run them: two services on one port, and no engine of ours."""
