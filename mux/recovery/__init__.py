"""One numbering for the fleet, and clients that were away."""
