"""Tokens that open something: random, shown once, stored as their SHA-256."""

import hashlib
import secrets


def make_token() -> str:
    """Return 256 random bits, as text for a cookie, a link or an address."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """Return what is stored of a token: its SHA-256 in hex. It is random, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()
