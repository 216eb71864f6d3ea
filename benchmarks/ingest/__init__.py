"""How fast ingestion is, against ClickHouse's own Kafka engine on the same broker and messages."""
