"""What a client may do: grants, and the tokens that carry them."""
