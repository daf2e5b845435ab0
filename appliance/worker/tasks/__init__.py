"""Jobs of the network disk and of the way in: one file each; ``registry`` says which does what."""
