"""Rules that hold for the query parameters of every route."""

from fastapi import Request

from serving_api.problems import InvalidParameter, invalid_request


def refuse_repeated_parameters(request: Request) -> None:
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
