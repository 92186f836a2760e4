"""The command line, and the commands that talk to a running server through the endpoints everybody uses."""
