"""Who may do what, in files and tables that an operator writes: API keys, tenants, users of Redis."""
