"""Who calls the gateway: API keys and OIDC tokens, and what a caller may see."""
