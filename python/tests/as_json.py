"""Results as JSON, to compare them with what the program prints."""

import dataclasses
import json

from electra_convert._results import json_name


def as_json(value):
    """Returns the JSON form of a result."""
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {json_name(f): as_json(getattr(value, f.name)) for f in fields}
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return value


def comparable(document):
    """Drops what differs from run to run, and null, which the program leaves out of some places."""
    if isinstance(document, list):
        return [comparable(item) for item in document]
    if isinstance(document, dict):
        dropped = {"seconds", "command", "status", "format_version"}
        return {
            key: comparable(value)
            for key, value in document.items()
            if key not in dropped and value is not None
        }
    return document


def printed(finished):
    """Returns the document that the program has printed."""
    return comparable(json.loads(finished.stdout))
