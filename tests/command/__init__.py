"""The command line, and the commands that it has beside serve."""
