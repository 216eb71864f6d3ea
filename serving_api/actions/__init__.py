"""Actions: written to Kafka, and the recent ones read back."""
