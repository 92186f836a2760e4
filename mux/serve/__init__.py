"""What stands between strangers and Sanic."""
