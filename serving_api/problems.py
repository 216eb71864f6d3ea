"""Errors as RFC 9457 `application/problem+json`: one shape, stable types, nothing of the inside."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

TYPE_PREFIX = "urn:tally:problem:"


class InvalidParameter(BaseModel):
    """One reason why a request was refused."""

    location: str = Field(description="Where it is: `query.as_of`, `header.authorization`, ...")
    message: str


class ProblemDetails(BaseModel):
    """The body of every 4xx and 5xx answer (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description=f"`{TYPE_PREFIX}<name>`; stable, made to be compared.")
    title: str = Field(description="The type in words; the same for every occurrence.")
    status: int
    detail: str | None = Field(None, description="What happened this time, for a person.")
    request_id: str = Field(description="The same as in `X-Request-Id`; name it in a report.")
    errors: list[InvalidParameter] = Field([], description="Only with `invalid-request`.")


class ProblemError(Exception):
    """An answer other than success. Raise it anywhere below an endpoint."""

    def __init__(
        self,
        status: HTTPStatus,
        name: str,
        title: str,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.name = name
        self.title = title
        self.detail = detail
        self.headers = headers
        self.extensions = extensions

    def response(self, request_id: str) -> JSONResponse:
        """The answer to send."""
        body = {
            "type": TYPE_PREFIX + self.name,
            "title": self.title,
            "status": int(self.status),
            "detail": self.detail,
            "request_id": request_id,
            **self.extensions,
        }
        return JSONResponse(
            {name: value for name, value in body.items() if value is not None},
            self.status,
            self.headers,
            media_type="application/problem+json",
        )


def internal_error() -> ProblemError:
    """What a caller may know of a bug: that there is one, and the id to find it by."""
    return ProblemError(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal-error",
        "Something went wrong on our side",
        "The error is recorded under this request_id.",
    )


def unauthorized(detail: str) -> ProblemError:
    """401, with the challenge that RFC 6750 asks for."""
    return ProblemError(
        HTTPStatus.UNAUTHORIZED,
        "unauthorized",
        "A valid bearer token is needed",
        detail,
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def forbidden(detail: str) -> ProblemError:
    """403: the token is good, and does not allow this."""
    return ProblemError(HTTPStatus.FORBIDDEN, "forbidden", "This is not allowed", detail)


def no_room() -> ProblemError:
    """503 where the process has as many connections as it takes, or is ending."""
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "no-room",
        "No more connections right now",
        "This server has no room for another connection.",
        headers={"Retry-After": "5"},
    )


def too_many_connections(limit: int) -> ProblemError:
    """429 for a caller who has as many connections as one may have."""
    return ProblemError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too-many-connections",
        "Too many connections",
        f"At most {limit} connections of one caller.",
        headers={"Retry-After": "60"},
        limit=limit,
    )


def invalid_request(*errors: InvalidParameter) -> ProblemError:
    """422, with everything that is wrong with the request."""
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid-request",
        "The request has parameters that are not valid",
        errors=[error.model_dump() for error in errors],
    )


def problem_responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI `responses` of an operation that can answer with these problems."""
    return {
        int(status): {
            "description": status.phrase,
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            },
        }
        for status in statuses
    }


def add_problem_handlers(app: FastAPI) -> None:
    """Answer refused requests and raised problems as problem+json."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)


def _request_id(request: Request) -> str:
    request_id: str = request.scope["request_id"]
    return request_id


async def _on_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return error.response(_request_id(request))


async def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    reasons = [
        InvalidParameter(
            location=".".join(str(part) for part in found["loc"]),
            message=found["msg"].removeprefix("Value error, "),
        )
        for found in error.errors()
    ]
    return invalid_request(*reasons).response(_request_id(request))


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    """What the framework itself refuses: an unknown path, a method that a path does not have."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    name = status.phrase.lower().replace(" ", "-")
    problem = ProblemError(status, name, status.phrase, headers=error.headers)
    return problem.response(_request_id(request))
