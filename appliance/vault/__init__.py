"""Secrets: how they are held, sealed and opened."""
