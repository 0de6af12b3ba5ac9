"""A guest as it is written where nobody expects an attack: an ordinary Python process that speaks the wire.

It exists for the corpus of attacks to succeed against, and shares no code with the guest that is shipped.
"""

import json
import os
import struct
import sys
import traceback

CHANNEL = int(sys.argv[1])


def receive():
    length, _kind = struct.unpack(">IB", os.read(CHANNEL, 5))
    payload = b""
    while len(payload) < length:
        payload += os.read(CHANNEL, length - len(payload))
    return json.loads(payload)


def send(message):
    payload = json.dumps(message).encode()
    os.write(CHANNEL, struct.pack(">IB", len(payload), 0) + payload)


def bind(name):
    def function(*args, **kwargs):
        send({"t": "call", "id": 1, "name": name, "args": args, "kwargs": kwargs})
        return receive()["value"]

    return function


def run(command, namespace):
    given, error = [], None
    namespace["FINAL"] = given.append
    try:
        exec(command["code"], namespace)
    except Exception as e:  # noqa: BLE001 - whatever a cell raises
        error = {"kind": type(e).__name__, "message": str(e), "traceback": traceback.format_exc()}
    final = {"value": given[0]} if given else None
    print(command["mark"], flush=True)
    send({"t": "done", "id": command["id"], "error": error, "final": final, "changed": [], "threads": 0})


def main():
    functions = {name: bind(name) for name in receive()["functions"]}
    namespace = {"__builtins__": __builtins__, "context": None}
    send({"t": "ready", "v": 1, "report": {}})
    while True:
        namespace.update(functions)
        run(receive(), namespace)


main()
