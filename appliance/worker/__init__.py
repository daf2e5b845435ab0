"""The process that holds the keys: it runs the jobs and serves the reader."""
