"""Jobs about copies: ``replication.registry`` says which kind runs which."""
