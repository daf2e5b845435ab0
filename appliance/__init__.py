"""Armoire: a private cloud that a medical practice owns."""

__version__ = "0.1.0"
