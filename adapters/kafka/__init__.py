"""Kafka by way of kafka-python: topics, transactions, markers. Nothing else of toybox knows this client."""
