"""`mux top`: the whole fleet in one terminal."""
