"""python-socketio with its Redis manager on uvicorn, after its documentation."""

# Runs in the peers' environment, where neither mypy nor mux is.
# mypy: ignore-errors
# ruff: noqa: D103

import sys

import socketio
import uvicorn

port, redis_url = int(sys.argv[1]), sys.argv[2]
sio = socketio.AsyncServer(
    async_mode="asgi", client_manager=socketio.AsyncRedisManager(redis_url), ping_interval=3600, ping_timeout=3600
)


@sio.event
async def join(sid, channel):
    await sio.save_session(sid, {"channel": channel})
    await sio.enter_room(sid, channel)
    await sio.emit("joined", channel, to=sid)


@sio.event
async def publish(sid, message):
    session = await sio.get_session(sid)
    await sio.emit("message", message, room=session["channel"])


options = {"backlog": 8192, "ws_per_message_deflate": False, "ws_ping_interval": None, "loop": "uvloop"}
uvicorn.run(socketio.ASGIApp(sio), port=port, log_level="critical", **options)
