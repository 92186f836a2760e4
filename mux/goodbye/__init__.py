"""Clients are sent away gently: in batches, with a reason, after all that waits for them."""
