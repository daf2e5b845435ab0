"""The command line, one file per group of commands; ``appliance.cli`` finds them by name."""
