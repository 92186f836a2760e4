"""Tests of the benchmarks: a generator that miscounts proves nothing."""
