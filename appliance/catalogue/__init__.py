"""What every snapshot of a source contains: written a night at a time, searchable, rebuildable."""
