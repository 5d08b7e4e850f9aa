"""`toybox kafka`: the topics on a Kafka cluster, made and checked."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from toybox.cli.app import OPERATE, AsJson, app, session
from toybox.log import hush_kafka
from toybox.settings import Settings
from toybox.terminal.failures import Exit
from toybox.terminal.output import out, print_json

kafka = typer.Typer(no_args_is_help=True, help="Topics on Kafka: make them, check them.")
app.add_typer(kafka, name="kafka", rich_help_panel=OPERATE)
Servers = Annotated[str | None, typer.Option("--kafka", metavar="HOST:PORT", help="The brokers (TOYBOX_KAFKA).")]


@kafka.command(epilog="Example: toybox kafka init --kafka localhost:9092")
def init(context: typer.Context, servers: Servers = None, as_json: AsJson = False) -> None:
    """Make the topics that are not there yet. The relay does the same; one that exists is never changed."""
    from adapters.kafka.topics import KafkaTopics
    from streams import topics
    from toybox.relaying import topics_of

    settings = _settings(context, servers)
    wanted, admin = topics_of(settings), KafkaTopics(settings.cluster())
    made = asyncio.run(topics.init(admin, wanted, replication=settings.kafka_replication))
    for each in wanted:
        if as_json:
            print_json({"topic": each.name, "partitions": each.partitions, "made": each.name in made})
        else:
            out().print(f"{each.name}: {'made' if each.name in made else 'there'}", soft_wrap=True)


@kafka.command(epilog="Example: toybox kafka check")
def check(context: typer.Context, servers: Servers = None, as_json: AsJson = False) -> None:
    """Compare the topics with what toybox needs. Exit code 1 when something keeps the relay from writing."""
    from adapters.kafka.topics import KafkaTopics
    from streams import topics
    from toybox.relaying import topics_of

    settings = _settings(context, servers)
    wanted, admin = topics_of(settings), KafkaTopics(settings.cluster())
    found = asyncio.run(topics.check(admin, wanted, replication=settings.kafka_replication))
    for each in found:
        if as_json:
            print_json(asdict(each))
        else:
            label = ("fatal    ", "red") if each.fatal else ("advice   ", "yellow")
            out().print(Text.assemble(label, str(each)), soft_wrap=True)
    if not found and not as_json:
        out().print(f"all {len(list(wanted))} topics are as they should be")
    if topics.fatal(found):
        raise typer.Exit(Exit.FAILED)


def _settings(context: typer.Context, servers: str | None) -> Settings:
    hush_kafka()
    return session(context).settings.overruled_by(kafka=servers)
