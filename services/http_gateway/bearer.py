"""Who sends an HTTP request."""


def bearer(authorization: str) -> str:
    """The credential of an Authorization header, for the gateway to judge; empty where there is none."""
    scheme, _, credential = authorization.strip().partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""
