"""The clients of this process and their channels: pure bookkeeping without I/O, clock, asyncio or Sanic."""
