"""The copy outside the building: sealed, written once, proven. One job a module."""
