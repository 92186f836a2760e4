"""Tests of `mux tail`."""
