"""Generates from the code openapi.json (OpenAPI 3.1) and realtime.json (AsyncAPI 3), and the table of docs/privacy.md.

`python -m curhat.app.contracts` writes the files. With `--check`, the command only reports whether the files are
current.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec

from curhat.app.api import build_api
from curhat.app.wiring import Services
from curhat.pairing import events as pairing_events
from curhat.presence import events as presence_events
from curhat.privacy.retention.document import with_table
from curhat.realtime import protocol
from curhat.realtime.event_types import EventType, UnsequencedEventType
from curhat.safety.reports import events as reports_events
from curhat.sessions import events as sessions_events
from curhat.sessions.schemas import Message

FOLDER = Path(__file__).parents[3] / "contracts"
# The page about personal data. It has the table of the classes of data.
PRIVACY_PAGE = FOLDER.parent / "docs" / "privacy.md"

# The modules that declare events.
EVENT_MODULES = (pairing_events, sessions_events, presence_events, reports_events)


def _declared(kind: type[Any]) -> dict[str, dict[str, type[msgspec.Struct]]]:
    """Return the data structs of all declared events of this kind.

    The outer key is the event's name. The inner key is the role that gets the event.
    """
    return {
        declared.name: {role: struct for role, struct in declared.data.items() if struct is not None}
        for module in EVENT_MODULES
        for declared in vars(module).values()
        if isinstance(declared, kind)
    }


def _reference(struct: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{struct.__name__}"}


def openapi() -> dict[str, Any]:
    """Return the HTTP contract. The operations that exist only in development have the tag `development`."""

    def no_services() -> Services:
        raise RuntimeError("reading the contract needs no running services")

    return build_api(no_services, development=True).openapi_schema.to_schema()


def realtime() -> dict[str, Any]:
    """Return the realtime contract: the two sockets, all frames in both directions, all events with their data."""
    client_frames = list(get_args(protocol.ClientFrame))
    server_frames = list(get_args(protocol.ServerFrame))
    stream_events, unsequenced_events = _declared(EventType), _declared(UnsequencedEventType)
    events = stream_events | unsequenced_events
    data_types = [data for readers in events.values() for data in readers.values()]
    types = dict.fromkeys([*client_frames, *server_frames, *data_types])
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    components["Event"]["properties"]["type"] = {
        "anyOf": [{"enum": sorted(stream_events)}, {"enum": sorted(unsequenced_events)}]
    }
    components["Sent"]["properties"]["message"] = _reference(Message)
    messages: dict[str, Any] = {
        frame.__name__: {"payload": _reference(frame)} for frame in (*client_frames, *server_frames)
    }
    for event, readers in events.items():
        for reader, data in readers.items():
            own = {"type": "object", "properties": {"type": {"const": event}, "data": _reference(data)}}
            payload = {"allOf": [_reference(protocol.Event), own]}
            messages[f"{event}.{reader}"] = {"name": event, "payload": payload}
    operations: dict[str, Any] = {}
    channels: dict[str, Any] = {}
    for reader, address in (("customer", "/api/client/realtime"), ("mitra", "/api/mitra/realtime")):
        sent = [frame.__name__ for frame in server_frames if frame is not protocol.Event]
        sent += [f"{event}.{reader}" for event, readers in events.items() if reader in readers]
        received = [frame.__name__ for frame in client_frames]
        all_names = {name: {"$ref": f"#/components/messages/{name}"} for name in sent + received}
        channels[reader] = {"address": address, "messages": all_names}
        for action, names in (("send", sent), ("receive", received)):
            operations[f"{reader}.{action}"] = {
                "action": action,
                "channel": {"$ref": f"#/channels/{reader}"},
                "messages": [{"$ref": f"#/channels/{reader}/messages/{name}"} for name in names],
            }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Curhat realtime", "version": "1", "description": protocol.__doc__},
        "channels": channels,
        "operations": operations,
        "components": {"schemas": components, "messages": messages},
    }


def main() -> int:
    """Write or check the contracts. Return the exit status: 1 if `--check` finds a difference, and otherwise 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only report whether the files are current")
    check = parser.parse_args().check
    stale = []
    generated = {
        FOLDER / name: json.dumps(contract, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
        for name, contract in (("openapi.json", openapi()), ("realtime.json", realtime()))
    }
    generated[PRIVACY_PAGE] = with_table(PRIVACY_PAGE.read_text(encoding="utf-8"))
    for path, text in generated.items():
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
    if stale:
        sys.stderr.write(f"contracts: {', '.join(stale)} differ from the code; run make contracts\n")
        return 1
    sys.stdout.write("contracts: current\n" if check else f"contracts: written to {FOLDER}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
