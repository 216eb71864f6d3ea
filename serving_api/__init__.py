"""The HTTP API: one folder a subject, each with its endpoints, repository and schemas."""
