"""`mux tail`: print what passes on channels."""
