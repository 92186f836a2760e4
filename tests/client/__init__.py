"""mux tail, mux top and what they are made of."""
