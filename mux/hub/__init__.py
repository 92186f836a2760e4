"""Who gets what: pure bookkeeping of this process's clients. No I/O of its own, no clock, no asyncio, no Sanic."""
