"""The command line: ``python -m sandbox.extend_api --port 8100 --listing-lag-seconds 3``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from sandbox.extend_api.settings import Settings, patched


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until interrupted; print one line with the address when ready."""
    arguments = vars(_parser().parse_args(argv))
    host, port, key = arguments.pop("host"), arguments.pop("port"), arguments.pop("key")
    changes = {name: _value(text) for name, text in arguments.items() if text is not None}
    try:
        settings = patched(Settings(), changes)
    except msgspec.ValidationError as error:
        sys.exit(f"sandbox.extend_api: {error}")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(host, port, key, settings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.extend_api", description="Emulator of the Extend API."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8100, help="port; 0 for any free one (%(default)s)")
    parser.add_argument("--key", default="sk_sandbox", help="the API key to accept (%(default)s)")
    group = parser.add_argument_group(
        "settings", "A value that is not a plain one is JSON. GET /_sandbox/settings shows all settings."
    )
    settings = msgspec.inspect.type_info(Settings)
    assert isinstance(settings, msgspec.inspect.StructType)
    for field in settings.fields:
        default = json.dumps(msgspec.to_builtins(field.default))
        group.add_argument(
            f"--{field.name.replace('_', '-')}",
            metavar="VALUE",
            nargs="?",
            const="true",
            help=f"{_description(field.type)} ({default})",
        )
    return parser


def _description(field_type: msgspec.inspect.Type) -> str:
    assert isinstance(field_type, msgspec.inspect.Metadata)
    return str((field_type.extra_json_schema or {})["description"])


def _value(text: str) -> Any:
    """Return the value of a switch: JSON, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


async def _serve(host: str, port: int, key: str, settings: Settings) -> None:
    from sandbox.extend_api.emulator import Emulator
    from sandbox.extend_api.server import serve

    listener = socket.create_server((host, port), backlog=1024)
    # Connections inherit this option. Without it a short answer waits 40 ms for the client's delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await serve(Emulator(key, settings), listener)


if __name__ == "__main__":
    main()
