"""The competition: each a small server as its own documentation would have it."""
