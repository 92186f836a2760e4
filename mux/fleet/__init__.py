"""The processes on one Redis and prefix: they ask each other, over the connection that each of them has."""
