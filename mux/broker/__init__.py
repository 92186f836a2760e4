"""The one Redis connection of a process, and the Redis that comes with mux."""
