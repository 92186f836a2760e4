"""Tests of the HTTP API for backends."""
