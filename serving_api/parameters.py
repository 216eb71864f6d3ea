"""Rules that hold for the query parameters of every route.

Dependencies are coroutines, also those that wait for nothing: for any other the framework takes a
thread, which costs a request more than all its own work.
"""

from datetime import date

from fastapi import Request

from serving_api.consistency import ConsistencyToken, parse_token
from serving_api.problems import InvalidParameter, invalid_request


async def refuse_repeated_parameters(request: Request) -> None:
    """Raise 422 for a parameter that is given twice: the framework would silently take the last."""
    given = [name for name, _ in request.query_params.multi_items()]
    repeated = sorted({name for name in given if given.count(name) > 1})
    if repeated:
        raise invalid_request(
            *(
                InvalidParameter(location=f"query.{name}", message="given twice")
                for name in repeated
            )
        )


async def refuse_parameters(request: Request) -> None:
    """Raise 422 for any query parameter, on a route that takes none."""
    if request.query_params:
        raise invalid_request(
            *(
                InvalidParameter(location=f"query.{name}", message="Extra inputs are not permitted")
                for name in request.query_params
            )
        )


def not_in_the_future(name: str, given: date | None, today: date) -> date:
    """The date that is asked for, by default today. Raises 422 for one after it."""
    if given is not None and given > today:
        message = f"is in the future: today is {today} in UTC"
        raise invalid_request(InvalidParameter(location=f"query.{name}", message=message))
    return given or today


def consistency_token(name: str, given: str | None) -> ConsistencyToken | None:
    """The token, if one is given. Raises 422 for what is none."""
    if given is None:
        return None
    try:
        return parse_token(given)
    except ValueError as error:
        location = f"query.{name}"
        raise invalid_request(InvalidParameter(location=location, message=str(error))) from error
