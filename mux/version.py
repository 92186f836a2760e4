"""The version of mux, in a module that imports nothing else of it."""

from importlib.metadata import version

__version__ = version("mux")
