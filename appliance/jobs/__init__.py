"""Everything slow: what a job is, and the queue in the database."""
