"""What happens to budgets: every event, as the log keeps it."""

from uuid import UUID

from domain.budgets.limits import Percent
from domain.charges import Tokens, Unit
from domain.ids import Scope
from domain.kernel import Aggregate, Created
from domain.values import Amount, Instant, Money, Slug
from domain.windows import Span, Window


class Opened(Created, type="budget.opened"):
    """A scope was given its first limit."""

    scope: Scope
    project_id: UUID | None
    limit: Amount
    thresholds: list[Percent]
    name: Slug
    unit: Unit
    window: Window
    hard: bool
    span: Span | None


class Reopened(Aggregate.Event, type="budget.reopened"):
    """A closed budget limits its scope again, in this way only; what its window counts already stays."""

    limit: Amount
    thresholds: list[Percent]
    name: Slug
    unit: Unit
    window: Window
    hard: bool
    span: Span | None


class LimitAdded(Aggregate.Event, type="budget.limit_added"):
    """The scope is limited in another unit or window besides; what is held from now on counts in it."""

    limit: Amount
    thresholds: list[Percent]
    name: Slug
    unit: Unit
    window: Window
    hard: bool
    span: Span | None


class LimitChanged(Aggregate.Event, type="budget.limit_changed"):
    """The scope may spend more, or less, than before."""

    name: Slug
    limit: Amount
    previous: Amount
    waiting: int


class LimitRemoved(Aggregate.Event, type="budget.limit_removed"):
    """One of several limits counts no longer."""

    name: Slug
    waiting: int
    rolls_at: Instant | None


class WindowRolled(Aggregate.Event, type="budget.window_rolled"):
    """The window of a limit went on; what leaves it no longer counts. Due again at `rolls_at` where jobs wait."""

    name: Slug
    span: Span
    settled: Amount
    held: Amount
    waiting: int
    rolls_at: Instant | None


class Reserved(Aggregate.Event, type="budget.reserved"):
    """The most that an attempt can cost was set aside before it was sent."""

    attempt_id: UUID
    number: int
    job_id: UUID
    amount: Amount
    input_tokens: Tokens
    output_tokens: Tokens
    expires_at: Instant


class Settled(Aggregate.Event, type="budget.settled"):
    """What an attempt really cost replaced what was held for it."""

    attempt_id: UUID
    number: int
    amount: Amount
    input_tokens: Tokens
    output_tokens: Tokens
    held: Amount
    held_input_tokens: Tokens
    held_output_tokens: Tokens
    waiting: int


class Released(Aggregate.Event, type="budget.released"):
    """An attempt certainly cost nothing, so its hold is free again."""

    attempt_id: UUID
    number: int
    amount: Amount
    input_tokens: Tokens
    output_tokens: Tokens
    waiting: int


class HoldExpired(Aggregate.Event, type="budget.hold_expired"):
    """Nobody said what an attempt cost in time, so all that was held for it counts as spent."""

    attempt_id: UUID
    number: int
    amount: Amount
    input_tokens: Tokens
    output_tokens: Tokens
    waiting: int


class Adjusted(Aggregate.Event, type="budget.adjusted"):
    """The real cost of an attempt arrived after its hold had expired and corrected what was spent."""

    attempt_id: UUID
    number: int
    delta: Money
    input_delta: int
    output_delta: int
    waiting: int


class Rebooked(Aggregate.Event, type="budget.rebooked"):
    """What a settled attempt counts as was corrected: its usage came later, or its price was wrong."""

    attempt_id: UUID
    number: int
    delta: Money
    input_delta: int
    output_delta: int
    waiting: int


class ThresholdCrossed(Aggregate.Event, type="budget.threshold_crossed"):
    """Spending reached a percentage of a limit that somebody wants to hear of."""

    name: Slug
    unit: Unit
    percent: Percent
    limit: Amount
    settled: Amount
    held: Amount


class JobParked(Aggregate.Event, type="budget.job_parked"):
    """A job waits, because what it may cost does not fit; at `rolls_at` a window ends and makes room."""

    job_id: UUID
    requested: Amount
    input_tokens: Tokens
    output_tokens: Tokens
    rolls_at: Instant | None


class JobUnparked(Aggregate.Event, type="budget.job_unparked"):
    """A job no longer waits for this budget; others may, until `rolls_at`."""

    job_id: UUID
    rolls_at: Instant | None


class Overdrawn(Aggregate.Event, type="budget.overdrawn"):
    """A provider charges more than the most that was held: the bound or the rate is wrong."""

    attempt_id: UUID
    number: int
    unit: Unit
    amount: Amount
    held: Amount


class Closed(Aggregate.Event, type="budget.closed"):
    """The scope is no longer limited by this budget; holds that are open still settle."""

    waiting: int
