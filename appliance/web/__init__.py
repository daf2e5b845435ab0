"""The process that faces the network: it holds no key."""
