"""The processes on one Redis, as one: they ask each other, over the connection each of them has."""
