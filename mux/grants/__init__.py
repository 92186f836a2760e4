"""Grants, which say what a client may do, and the tokens that carry them."""
