"""Tests of the adapter to Kafka."""
