"""The load generator: schedule, sockets, counting, and the meters beside them."""
