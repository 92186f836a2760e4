"""Clients of a running server, through the endpoints everybody uses."""
