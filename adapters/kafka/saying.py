"""What kafka-python raises, said in words of the product."""

from collections.abc import Iterator
from contextlib import contextmanager

from adapters.kafka.client import client
from domain.relaying import BrokerAway, Fenced


@contextmanager
def away() -> Iterator[None]:
    """Whatever goes wrong with a broker means the same: nothing is proven, begin anew."""
    errors = client("kafka.errors")
    try:
        yield
    except BrokerAway:
        raise
    except TimeoutError as error:
        raise BrokerAway("Kafka takes too long to answer: see that its brokers run and can be reached") from error
    except Exception as error:  # the client raises all kinds; a call that failed in any way has proven nothing
        # A producer that was fenced says so once; every later call fails with a general error that carries the first.
        fenced = (errors.ProducerFencedError, errors.InvalidProducerEpochError)
        if any(isinstance(each, fenced) for each in (error, *error.args)):
            raise Fenced("another relay has taken over") from error
        said = str(error).strip().partition("\n")[0][:300]
        raise BrokerAway(
            f"Kafka is away or refuses ({f'{type(error).__name__} {said}'.rstrip()}): see that its brokers run and "
            f"that TOYBOX_KAFKA names them"
        ) from error
