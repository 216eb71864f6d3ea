"""Who answers for what the platform itself runs; a model may name an owner of its own."""

OWNERS = ["team:data-engineering"]
