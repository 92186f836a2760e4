"""The HTTP routes: they admit a client, take its socket over, and say what its bytes mean."""
