"""Connections that have not become clients: reading what strangers send, and deciding who gets it."""
