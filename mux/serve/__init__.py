"""`mux serve`: the server around the feed."""
