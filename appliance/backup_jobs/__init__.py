"""The night: sources into Borg, proven, pruned, restored. One job a module."""
