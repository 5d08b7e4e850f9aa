"""Usage as a person or a vendor's export tells it: totals and their parts, checked before they are believed."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from domain.errors import Refused
from domain.pricing.usage import BUCKETS, INPUT, OUTPUT, Bucket, Pass, Standard, Usage
from domain.values import Amount, Code, ModelName, Slug

MOST: Final = 1_000_000_000
Tokens = Annotated[int, Field(ge=0, le=MOST)]


class Inconsistent(Refused):
    """Counts that contradict one another: nothing can be billed by them."""

    code = "usage_inconsistent"


class Counted(BaseModel):
    """What an attempt used. A total includes its parts; what they leave is plain text."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: Annotated[ModelName | None, Field(description="That answered; the recorded one unless named")] = None
    tier: Code = Standard
    speed: Code = Standard
    region: Slug | None = None
    input_tokens: Annotated[Tokens | None, Field(description="All that was read, caches included")] = None
    output_tokens: Annotated[Tokens | None, Field(description="All that was written, reasoning included")] = None
    counts: Annotated[
        Mapping[Bucket, Tokens], Field(description="Parts by bucket: input_cache_read, output_audio, web_search, …")
    ] = {}
    reported_cost: Annotated[Amount | None, Field(description="USD that the vendor says it charged")] = None

    def usage(self, model: str) -> Usage:
        """As disjoint buckets; Inconsistent when the parts exceed their total or something was not counted."""
        counts = dict(self.counts)
        for direction, plain, whole in (("input", INPUT, self.input_tokens), ("output", OUTPUT, self.output_tokens)):
            base: Bucket = "input" if direction == "input" else "output"
            parts = {bucket: count for bucket in BUCKETS if bucket in plain and (count := counts.get(bucket))}
            if whole is None:
                if not any(bucket in counts for bucket in plain):
                    raise Inconsistent(
                        f"{direction}_tokens is missing, and missing is unknown, never zero: count it, or say 0"
                    )
                continue
            left = whole - sum(parts.values())
            if left < 0 or (left and base in counts):
                told = " + ".join(f"{name} {count}" for name, count in parts.items())
                fix = "give the total of all parts" if left < 0 else f"leave {base} out, it is what the parts leave"
                raise Inconsistent(f"{direction}_tokens is {whole}, but its parts are {told}: {fix}")
            counts[base] = counts.get(base, 0) + left
        if not any(counts.values()):
            raise Inconsistent("nothing is counted for a request that was sent: missing is unknown, never zero")
        return Usage(
            passes=[Pass.of(self.model or model, counts)],
            tier=self.tier,
            speed=self.speed,
            region=self.region,
            reported_cost=self.reported_cost,
        )
