"""What a call used, as its provider counted it: disjoint buckets, so that nothing is paid twice or forgotten."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import Field, model_validator

from domain.values import Amount, Code, ModelName, Name, Slug, Value

Bucket = Literal[
    "input",
    "input_cache_read",
    "input_cache_write_5m",
    "input_cache_write_30m",
    "input_cache_write_1h",
    "input_cache_write_12h",
    "input_audio",
    "input_audio_cache_read",
    "input_image",
    "input_image_cache_read",
    "output",
    "output_audio",
    "output_image",
    "web_search",
    "web_fetch",
    "image_generation",
    "audio_ms",
    "session_ms",
]
"""What is counted: tokens by direction, cache and modality; uses of the provider's own tools; milliseconds of sound.

`input` is what no cache served or kept, and a bucket without a modality in its name is text. Tokens of reasoning and of
rejected predictions are output like any other.
"""
BUCKETS: Final[tuple[Bucket, ...]] = get_args(Bucket)
INPUT: Final = frozenset[Bucket](each for each in BUCKETS if each.startswith("input"))
OUTPUT: Final = frozenset[Bucket](each for each in BUCKETS if each.startswith("output"))
TEXT_READ: Final = frozenset[Bucket](each for each in BUCKETS if each == "input" or each.startswith("input_cache_"))
CACHE_READS: Final = frozenset[Bucket](each for each in BUCKETS if each.endswith("_cache_read"))
_ORDER: Final = {bucket: place for place, bucket in enumerate(BUCKETS)}

Count = Annotated[int, Field(ge=0)]
Standard = "standard"


class Quantity(Value):
    """How many of one bucket: tokens, uses or milliseconds."""

    bucket: Bucket
    quantity: Annotated[int, Field(gt=0)]


class Pass(Value):
    """What one model did for an answer. Most take one; compaction, an adviser or a fallback one more each."""

    model: ModelName
    kind: Code = "message"
    quantities: list[Quantity]

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        found = [each.bucket for each in self.quantities]
        if found != sorted(set(found), key=_ORDER.__getitem__):
            raise ValueError("each bucket stands once, in the order of BUCKETS")
        return self

    @classmethod
    def of(cls, model: str, counts: Mapping[Bucket, int], *, kind: str = "message") -> Self:
        """A pass from its counts, those of nothing left out."""
        return cls(
            model=model,
            kind=kind,
            quantities=[Quantity(bucket=each, quantity=counts[each]) for each in BUCKETS if counts.get(each)],
        )

    def count(self, buckets: Iterable[Bucket]) -> int:
        """The sum over some buckets."""
        wanted = frozenset(buckets)
        return sum(each.quantity for each in self.quantities if each.bucket in wanted)

    @property
    def input_tokens(self) -> int:
        """Everything that the model read, from a cache or not: what price bands go by."""
        return self.count(INPUT)


class Usage(Value):
    """What one attempt used. Tier, speed and region are those of the answer: a provider bills by them."""

    passes: Annotated[list[Pass], Field(min_length=1)]
    tier: Code = Standard
    speed: Code = Standard
    region: Slug | None = None
    reasoning_tokens: Count | None = None
    """Part of the output, for those who want to know; never priced again. None where the provider does not say."""
    rejected_prediction_tokens: Count | None = None
    """Part of the output as well."""
    reported_cost: Amount | None = None
    """USD that the provider itself says it charges for this answer."""
    unknown_fields: list[Name] = Field(default_factory=list[str])
    """Counts that this release does not know: kept with the raw usage, and a reason to look at the price."""

    @classmethod
    def simple(cls, model: str, *, input_tokens: int, output_tokens: int) -> Self:
        """Text in, text out, no cache."""
        return cls(passes=[Pass.of(model, {"input": input_tokens, "output": output_tokens})])

    @property
    def input_tokens(self) -> int:
        """All that was read, in all passes."""
        return sum(each.input_tokens for each in self.passes)

    @property
    def output_tokens(self) -> int:
        """All that was written, reasoning included."""
        return sum(each.count(OUTPUT) for each in self.passes)

    @property
    def cached_tokens(self) -> int:
        """Of what was read, what a cache served."""
        return sum(each.count(CACHE_READS) for each in self.passes)

    @property
    def total_tokens(self) -> int:
        """Read and written together."""
        return self.input_tokens + self.output_tokens

    def quantity(self, bucket: Bucket) -> int:
        """How many of one bucket, in all passes."""
        return sum(each.count([bucket]) for each in self.passes)
