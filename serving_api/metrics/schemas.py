"""The answer of `GET /api/metrics/definitions`."""

from pydantic import BaseModel, Field

from tally.metrics.registry import ActiveDay, Privacy


class MetricDefinition(BaseModel):
    """What one metric means, on every engine and wherever it is read."""

    name: str
    label: str = Field(description="A short name for people.")
    section: str = Field(description="Activity, Games or Population.")
    description: str
    formula: str = Field(description="How it is computed, in words.")
    grain: str = Field(description="What one number of it is about.")
    window: str = Field(description="The dates that count; D is `as_of`, a UTC date.")
    window_days: int | None = Field(description="How many dates the window has, where it has one.")
    additive: bool = Field(
        description="Whether it may be summed over days, games and users. Distinct counts and "
        "ratios may not."
    )
    unit: str
    privacy: Privacy = Field(
        description="Who may see it: `player` the player and staff, `public` everyone, `aggregate` "
        "is of no single player."
    )
    empty: str = Field(description="What zero and null mean.")
    active_day: ActiveDay = Field(
        description="The active-day definition that applies; `as_asked`: the one that the answer "
        "names."
    )
    hash: str = Field(
        description="Changes when the definition changes, or the SQL behind the number: "
        "`sha256:<hex>`."
    )


class MetricDefinitions(BaseModel):
    """Every canonical metric."""

    timezone: str = Field("UTC", description="Every day of every metric is a UTC date.")
    active_day_definitions: dict[str, str]
    metrics: list[MetricDefinition]
