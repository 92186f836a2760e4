"""HTTP/1.1 as strangers send it: strict, bounded, and the same however the bytes are sliced."""
