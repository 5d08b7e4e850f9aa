"""Keeps Python's garbage collector out of the way of those who wait for an answer."""

import gc


def spare_what_stands() -> None:
    """Keep the collector off what start-up made, which lives as long as the process, and let it look less often.

    Walking all module objects while commands are decided is what their slowest hundredth would wait for: of two
    processes that share a hot aggregate, p99 is three times what it is with this (`bench.append`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
