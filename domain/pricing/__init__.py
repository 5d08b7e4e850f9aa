"""What a call used, what that costs, and the most that it can cost. Arithmetic for every context; it has no events."""

from domain.pricing.catalogue import ANY_MODEL, Catalogue, Entry, Origin
from domain.pricing.prices import ModelPrices, Price, PriceCard, PriceUnknown, Quote, RateId, per
from domain.pricing.rating import Conditions, Line, bound_of, lines_of, reported_line, total, upper_bound_tokens
from domain.pricing.usage import BUCKETS, INPUT, OUTPUT, Bucket, Pass, Quantity, Usage

__all__ = [
    "ANY_MODEL",
    "BUCKETS",
    "INPUT",
    "OUTPUT",
    "Bucket",
    "Catalogue",
    "Conditions",
    "Entry",
    "Line",
    "ModelPrices",
    "Origin",
    "Pass",
    "Price",
    "PriceCard",
    "PriceUnknown",
    "Quantity",
    "Quote",
    "RateId",
    "Usage",
    "bound_of",
    "lines_of",
    "per",
    "reported_line",
    "total",
    "upper_bound_tokens",
]
