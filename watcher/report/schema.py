"""The JSON schema of ``results.json``: made from the model, kept in ``watcher/schemas``, one file for each version.

``python -m watcher.report.schema`` prints it.
"""

from __future__ import annotations

import json

from watcher.model import SCHEMA_VERSION, Results

NAME = f"results-{SCHEMA_VERSION}.schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def render() -> str:
    """As the file holds it; ends with a newline."""
    schema = Results.model_json_schema()  # as it is read: what has a default may be missing
    schema["description"] = (
        f"results.json of a watcher run, schema_version {SCHEMA_VERSION}. Seconds are those of the run: at a scale,"
        " times the scale they are true ones. What `evidence` holds is for readers and may grow within a version."
    )
    return json.dumps({"$schema": _DIALECT, **schema, "title": "watcher results"}, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(render())
