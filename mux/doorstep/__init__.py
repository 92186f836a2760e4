"""Connections that are not anybody's yet: reading what strangers send, and deciding who gets it."""
