"""The append-only chain that holds audit events and proofs."""
