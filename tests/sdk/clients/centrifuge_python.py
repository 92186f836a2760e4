"""Does with the Python SDK what each line of stdin says, and tells on stdout what happens."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, is_dataclass
from typing import Any

from centrifuge import (  # type: ignore[import-not-found]  # it has an environment of its own
    CentrifugeError,
    Client,
    ReplyError,
    UnauthorizedError,
)

clients: dict[str, Any] = {}


def tell(**event: Any) -> None:
    """Write one event."""
    print(json.dumps(event), flush=True)


class Listener:
    """Tells every event of a client or a subscription; the SDK calls on_connected(context) and so on."""

    def __init__(self, **told: Any) -> None:
        self._told = told

    def __getattr__(self, name: str) -> Callable[[Any], Awaitable[None]]:
        async def tell_it(context: Any) -> None:
            values = dict(vars(context))
            for key, value in values.items():
                if is_dataclass(value) and not isinstance(value, type):
                    values[key] = asdict(value)
            if "error" in values:
                error = values.pop("error")
                values |= {"code": getattr(error, "code", 0), "message": str(error)}
            values |= values.pop("pub", {})
            values["wasRecovering"] = values.pop("was_recovering", False)
            tell(what=name.removeprefix("on_"), **values | self._told)

        return tell_it


def renewing(tokens: list[str], **told: Any) -> Callable[..., Awaitable[str]]:
    """Return what the SDK calls for a token."""

    async def renew(*_: str) -> str:
        tell(what="renews", **told)
        if not tokens:
            raise UnauthorizedError
        return tokens.pop(0)

    return renew


async def connect(order: dict[str, Any]) -> None:
    """Make a client."""
    name, renew = order["as"], order.get("renew")
    client = Client(
        order["url"],
        events=Listener(**{"as": name}),
        token=order.get("token", ""),
        get_token=None if renew is None else renewing(renew, **{"as": name}),
        max_reconnect_delay=1,
    )
    clients[name] = client
    await client.connect()


async def subscribe(order: dict[str, Any]) -> None:
    """Subscribe to channels, some perhaps not for the first time."""
    client = clients[order["as"]]
    for channel in order["channels"]:
        subscription = client.get_subscription(channel)
        if subscription is None:
            told, renew = {"as": order["as"], "channel": channel}, order.get("renew")
            subscription = client.new_subscription(
                channel,
                Listener(**told),
                token=order.get("token", ""),
                get_token=None if renew is None else renewing(renew, **told),
                data=order.get("data"),
                recoverable=order.get("recoverable", False),
                join_leave=order.get("joinLeave", False),
                max_resubscribe_delay=1,
            )
        await subscription.subscribe()


async def unsubscribe(order: dict[str, Any]) -> None:
    """Leave channels."""
    for channel in order["channels"]:
        await clients[order["as"]].get_subscription(channel).unsubscribe()


async def publish(order: dict[str, Any]) -> None:
    """Publish without waiting for one reply before the next message."""
    client = clients[order["as"]]
    await asyncio.gather(*(client.publish(order["channel"], item) for item in order["items"]))


async def presence(order: dict[str, Any]) -> dict[str, Any]:
    """Ask who is in a channel."""
    found = await clients[order["as"]].presence(order["channel"])
    return {key: vars(info) for key, info in found.clients.items()}


async def presence_stats(order: dict[str, Any]) -> Any:
    """Ask how many are in a channel."""
    return (await clients[order["as"]].presence_stats(order["channel"])).num_clients


async def history(order: dict[str, Any]) -> Any:
    """Ask what passed."""
    options = {"limit": order["limit"], "reverse": order.get("reverse", False)}
    return asdict(await clients[order["as"]].history(order["channel"], **options))


async def reconnect(order: dict[str, Any]) -> None:
    """Let a client come back."""
    await clients[order["as"]].connect()


async def disconnect(order: dict[str, Any]) -> None:
    """End a client."""
    await clients[order["as"]].disconnect()


DOES = {
    "connect": connect,
    "disconnect": disconnect,
    "reconnect": reconnect,
    "subscribe": subscribe,
    "unsubscribe": unsubscribe,
    "publish": publish,
    "presence": presence,
    "presenceStats": presence_stats,
    "history": history,
}


async def do(order: dict[str, Any]) -> None:
    """Do as a line says."""
    number = order.get("number")
    try:
        result = await DOES[order["do"]](order)
    except ReplyError as error:
        tell(what="refused", number=number, code=error.code, message=str(error))
    except CentrifugeError as error:
        tell(what="refused", number=number, code=0, message=repr(error))
    else:
        if number:
            tell(what="result", number=number, result=result)


async def main() -> None:
    """Do as each line says, and end with stdin."""
    tasks = set()
    while line := await asyncio.to_thread(sys.stdin.readline):
        task = asyncio.create_task(do(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
