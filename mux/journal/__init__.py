"""What came lately, kept as the very bytes that Redis sent."""
