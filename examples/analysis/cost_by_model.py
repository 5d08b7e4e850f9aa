"""What each project spent on each model, from Kafka: reads both topics from their beginning to their end of now.

pip install kafka-python polars
python examples/analysis/cost_by_model.py --brokers localhost:9092
"""
# ruff: noqa: INP001, T201 -- a script to be copied: it is no package, and it prints

import argparse
import json
from collections.abc import Iterator
from typing import Any

import polars as pl
from kafka import KafkaConsumer, TopicPartition

FACT = {
    "event_id": pl.String,
    "kind": pl.String,
    "position": pl.Int64,
    "cost_id": pl.String,
    "project_id": pl.String,
    "model": pl.String,
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "delta": pl.String,
}
MONEY = pl.Decimal(28, 12)


def records(brokers: str, topic: str) -> Iterator[dict[str, Any]]:
    """Every committed record that the topic holds now. A group would remember how far it is; this begins anew."""
    consumer = KafkaConsumer(
        bootstrap_servers=brokers.split(","),
        isolation_level="read_committed",  # else what was aborted is read too
        enable_auto_commit=False,
        check_crcs=False,
    )
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        # A partition ends with the mark of a transaction, which is no record: positions count it, records do not.
        while any(consumer.position(each) < end for each, end in ends.items()):
            for found in consumer.poll(timeout_ms=500).values():
                yield from (json.loads(record.value) for record in found)
    finally:
        consumer.close()


def names_of_projects(brokers: str, prefix: str) -> pl.DataFrame:
    """What each project is called: the last name that it was given."""
    names: dict[str, str] = {}
    for event in records(brokers, f"{prefix}.events"):
        if event["type"] in ("toybox.project.created.v1", "toybox.project.settings_changed.v1"):
            names[event["subject"]] = event["data"]["name"]
    return pl.DataFrame(
        {"project_id": list(names), "project": list(names.values())}, schema_overrides={"project_id": pl.String}
    )


def costs(brokers: str, prefix: str) -> pl.DataFrame:
    """One row for each attempt, with what it cost in the end."""
    facts = pl.DataFrame(list(records(brokers, f"{prefix}.costs")), schema=FACT)
    # A transactional topic has no doubles; one that was filled anew has none either. A pipe in between may make some.
    facts = facts.unique("event_id").sort("position")
    # A correction says what changed and leaves out what did not: the first fact says whose model it was.
    return facts.group_by("cost_id", maintain_order=True).agg(
        pl.col("project_id", "model").first(),
        pl.col("input_tokens", "output_tokens").last(),
        pl.col("delta").cast(MONEY).sum().alias("usd"),
    )


def main() -> None:
    """Read, add up, print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--brokers", default="localhost:9092")
    asked.add_argument("--prefix", default="toybox", help="what the topics begin with (TOYBOX_KAFKA_PREFIX)")
    given = asked.parse_args()
    report = (
        costs(given.brokers, given.prefix)
        .join(names_of_projects(given.brokers, given.prefix), on="project_id", how="left")
        .group_by("project", "model")
        .agg(pl.len().alias("calls"), pl.col("input_tokens", "output_tokens", "usd").sum())
        .sort("usd", descending=True)
    )
    with pl.Config(tbl_formatting="ASCII_MARKDOWN", tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        print(report)


if __name__ == "__main__":
    main()
