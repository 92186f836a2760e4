"""Tests of `mux top`."""
