"""The endpoint of SDK clients."""
