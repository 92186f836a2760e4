"""The journal keeps the last messages, as the very bytes that Redis sent."""
