"""What may be asked of accounting periods: close a month."""

from uuid import UUID

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.accounting import Accounting, Month, check_over, day_of
from domain.ids import accounting_id


class CloseMonth(Command, permission="accounting.close"):
    """Close a month and all before it: what changes about their costs from now on counts in the month of the change."""

    month: Month

    def streams(self) -> tuple[UUID, ...]:
        """The one set of periods."""
        return (accounting_id(),)


@handler
def close_month(command: CloseMonth, work: UnitOfWork) -> None:
    """It must be over; a closed month is never opened again."""
    check_over(command.month, day_of(work.now))
    books = work.find(Accounting, accounting_id()) or work.add(Accounting(id=accounting_id()))
    books.close(command.month, work.actor)
