"""The HTTP API for backends: what a program with a key may ask of the feed."""
