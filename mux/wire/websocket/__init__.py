"""WebSocket: handshake, frames in and frames out."""
