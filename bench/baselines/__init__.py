"""The losers of the comparisons, kept so that anybody can compare again: small, idiomatic and correct."""
