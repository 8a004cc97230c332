"""The credential of a call, by whichever door it comes (RFC 6750, section 2.1)."""


def bearer(authorization: str) -> str:
    """The credential of an Authorization header, not judged yet; empty where there is none."""
    scheme, _, credential = authorization.strip().partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""
