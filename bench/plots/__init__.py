"""Plots, as PNG and SVG, fit for a slide."""
