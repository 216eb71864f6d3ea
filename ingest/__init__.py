"""Kafka to ClickHouse: migrations, consumer, claims, dead letters, ledger and replay."""
