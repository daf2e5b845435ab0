"""A small practice on 127.0.0.1, filled with generated documents."""
