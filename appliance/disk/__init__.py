"""The network disk."""
