"""Debian's python3-websockets against a gateway: client.py ws://HOST:PORT SCENARIO plain|deflate

A scenario that fails ends with a traceback and a code other than 0.
"""

import asyncio
import contextlib
import json
import sys

import websockets

BASE, SCENARIO, COMPRESSION = sys.argv[1:4]
DEFLATE = COMPRESSION == "deflate"
TIMEOUT = 15
SIZES = [0, 1, 125, 126, 127, 1000, 4096, 40000]
SUBPROTOCOL = "fanfare.v1.json"


def within(awaitable):
    return asyncio.wait_for(awaitable, TIMEOUT)


async def connect(path, **options):
    ws = await websockets.connect(
        BASE + path, compression="deflate" if DEFLATE else None, max_size=None, open_timeout=TIMEOUT, **options
    )
    extensions = [extension.name for extension in ws.extensions]
    assert extensions == (["permessage-deflate"] if DEFLATE else []), extensions
    return ws


@contextlib.asynccontextmanager
async def connected(path, **options):
    ws = await connect(path, **options)
    yield ws
    await ws.close()


async def receive(ws, kind):
    """The payload of the next frame, which is of this type."""
    frame = json.loads(await within(ws.recv()))
    assert frame["type"] == kind and frame["version"] == 1, frame
    return frame["payload"]


async def send(ws, kind, payload=None, request_id=None):
    frame = {"type": kind, "payload": payload, "request_id": request_id}
    await ws.send(json.dumps({name: value for name, value in frame.items() if value is not None}))


async def member(room):
    """A connection that has joined the room."""
    ws = await connect("/ws", subprotocols=[SUBPROTOCOL])
    assert ws.subprotocol == SUBPROTOCOL, ws.subprotocol
    welcome = await receive(ws, "welcome")
    await send(ws, "join", {"room": room}, "j1")
    joined = await receive(ws, "joined")
    assert joined["room"] == room, joined
    return ws, welcome, joined


async def echo():
    async with connected("/echo") as ws:
        for size in SIZES:
            text = ("grüße " * size)[:size]
            await ws.send(text)
            assert await within(ws.recv()) == text, f"text of {size}"
            data = bytes(i * 7 % 256 for i in range(size))
            await ws.send(data)
            assert await within(ws.recv()) == data, f"binary of {size}"
        await ws.send(["fragments ", "", "of ", "one"])
        assert await within(ws.recv()) == "fragments of one"
        await ws.send([b"\x00", b"\xff" * 300])
        assert await within(ws.recv()) == b"\x00" + b"\xff" * 300
        messages = [f"message {i}" for i in range(200)]
        for message in messages:
            await ws.send(message)
        assert [await within(ws.recv()) for _ in messages] == messages, "order"


async def ping():
    for path in ("/echo", "/ws"):
        async with connected(path) as ws:
            for payload in (b"", b"x", b"y" * 125):
                await within(await ws.ping(payload))
            await ws.pong(b"of its own accord")
            await within(await ws.ping())


async def chat():
    room = f"python-{COMPRESSION}"
    one, _, first = await member(room)
    two, _, second = await member(room)
    assert (first["members"], second["members"]) == (1, 2), (first, second)
    seq = second["seq"]
    for sender, data in [(one, {"text": "hello, two"}), (two, {"text": "grüße 👋"}), (one, ["x" * 5000, None, 1.5])]:
        seq += 1
        await send(sender, "publish", {"room": room, "data": data, "event": "chat"}, f"p{seq}")
        replies = [json.loads(await within(sender.recv())) for _ in range(2)]
        published = next(frame for frame in replies if frame["type"] == "published")
        assert published["request_id"] == f"p{seq}" and published["payload"]["seq"] == seq, published
        own = next(frame["payload"] for frame in replies if frame["type"] == "message")
        other = await receive(two if sender is one else one, "message")
        assert own == other, (own, other)
        assert other["data"] == data and other["event"] == "chat" and other["seq"] == seq, other
    await send(two, "leave", {"room": room}, "l1")
    await receive(two, "left")
    await send(one, "publish", {"room": room, "data": 1})
    await receive(one, "message")
    await send(two, "ping", request_id="x")
    await receive(two, "pong")  # and no message
    await one.close()
    await two.close()


async def errors():
    """What is refused in words leaves the connection open."""
    async with connected("/ws", subprotocols=[SUBPROTOCOL]) as ws:
        await receive(ws, "welcome")
        for text, code in [
            ("no json", "bad_json"),
            ('{"type":"ping","type":"ping"}', "bad_json"),
            ('{"type":"nothing"}', "unknown_type"),
            ('{"type":"ping","version":2}', "unsupported_version"),
            ('{"type":"join","payload":{"room":"no room"}}', "invalid_request"),
            ('{"type":"leave","request_id":"r","payload":{"room":"elsewhere"}}', "not_joined"),
        ]:
            await ws.send(text)
            error = await receive(ws, "error")
            assert error["code"] == code, (text, error)
        await send(ws, "echo", {"still": "open"}, "e1")
        assert await receive(ws, "echo") == {"still": "open"}


async def closed(ws):
    """The code that the gateway closes with, whatever it sends before."""
    try:
        while True:
            await within(ws.recv())
    except websockets.ConnectionClosed:
        return ws.close_code


async def close():
    for path in ("/echo", "/ws"):
        for code, reason in ((1000, ""), (1001, "going"), (3000, "a library's"), (4321, "grüße")):
            ws = await connect(path)
            await within(ws.close(code, reason))
            assert ws.close_code == code, (path, code, ws.close_code)

    ws = await connect("/ws")
    welcome = await receive(ws, "welcome")
    await ws.send(b"binary")
    assert await closed(ws) == 1003, ws.close_code

    ws = await connect("/ws")
    await receive(ws, "welcome")
    await send(ws, "echo", "x" * welcome["limits"]["message_bytes"])
    assert await closed(ws) == 1009, ws.close_code

    ws = await connect("/echo")
    await ws.write_frame(True, 0x1, b"\xff\xfe")
    assert await closed(ws) == 1007, ws.close_code

    ws = await connect("/echo")
    ws.transport.write(b"\x83\x80\x00\x00\x00\x00")  # a reserved opcode
    assert await closed(ws) == 1002, ws.close_code


asyncio.run({"echo": echo, "ping": ping, "chat": chat, "errors": errors, "close": close}[SCENARIO]())
