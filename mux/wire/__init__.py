"""Bytes in, values out. Nothing here does I/O, reads a clock or imports asyncio or Sanic."""
