"""The OpenAPI document; `python -m serving_api.openapi [--check]` writes the committed copy."""

import json
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from serving_api.problems import ProblemDetails, problem_responses
from serving_api.security.access import access_to
from tally.generated import settle

COMMITTED = Path(__file__).with_name("openapi.json")
EXAMPLES = Path(__file__).with_name("examples.json")
"""Answers that the API has given, by `METHOD path status`; a test asks for them again."""

_DESCRIPTION = """
Exact, provable player analytics. Every day is a **UTC** calendar date, every count is exact, every
amount is an integer in minor units, and every answer names the active-day definition it used.
Errors are `application/problem+json` (RFC 9457) with a stable `type` and a `request_id`.
"""


_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "A JWT signed with EdDSA or RS256 by a key of the JWKS; its `sub` is the user.",
}


def describe(app: FastAPI) -> None:
    """Complete the generated document with what FastAPI does not know: the shape of errors."""
    generate = app.openapi
    app.description = _DESCRIPTION.strip()

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = ProblemDetails.model_json_schema(
                ref_template="#/components/schemas/{model}"
            )
            schemas.update(schemas["Problem"].pop("$defs", {}))
            document["components"]["securitySchemes"] = {"bearer": _BEARER}
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    if not access_to(method.upper(), path).public:
                        _guard(operation)
            _show_examples(document)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def _guard(operation: dict[str, Any]) -> None:
    """Say of an operation what the gate does before it."""
    operation["security"] = [{"bearer": []}]
    refusals = problem_responses(
        HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS
    )
    responses = operation["responses"]
    responses |= {str(status): what for status, what in refusals.items()}
    operation["responses"] = dict(sorted(responses.items()))


def _show_examples(document: dict[str, Any]) -> None:
    for key, example in json.loads(EXAMPLES.read_text()).items():
        method, path, status = key.split()
        answer = document["paths"][path][method.lower()]["responses"][status]
        for content in answer["content"].values():
            content["example"] = example


def render(app: FastAPI) -> str:
    """The document as it is committed."""
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the committed copy, or with `--check` show how it differs; the exit code."""
    from serving_api.app import create_app
    from tally.settings import Settings

    document = render(create_app(Settings()))
    return settle({COMMITTED: document}, check="--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
