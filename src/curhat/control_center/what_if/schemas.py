"""The API's structs of a what-if, and the structs that a replay reads and writes as JSON."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from curhat.control_center.schemas import OperatorReference
from curhat.pairing.states import FailureTag

WhatIfStatus = Literal["waiting", "running", "done", "failed", "cancelled"]
# The parts of a replay that no record says, so the replay estimates them.
Estimate = Literal["online_times", "answer_times", "patience", "session_lengths", "fallbacks", "extra_mitras"]


class ExtraMitras(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """More mitras, who are online each day from `from_hour` to `to_hour` in Jakarta. 0 to 24 is the whole day."""

    count: Annotated[int, msgspec.Meta(ge=1, le=50)]
    from_hour: Annotated[int, msgspec.Meta(ge=0, le=23)]
    to_hour: Annotated[int, msgspec.Meta(ge=1, le=24)]


class WhatIfQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change in the replay of `since` to `until`. What is left out stays as it was.

    The default of the period is the last 7 days. Seconds have the bounds of the configuration rows.
    """

    since: datetime | None = None
    until: datetime | None = None
    blast_timeout_seconds: Annotated[int, msgspec.Meta(ge=10, le=600)] | None = None
    targeted_timeout_seconds: Annotated[int, msgspec.Meta(ge=5, le=120)] | None = None
    extra_mitras: ExtraMitras | None = None


class Interval(msgspec.Struct, frozen=True):
    """The mean of the runs, and the bounds between which nine tenths of the runs are."""

    low: float
    mean: float
    high: float


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """What the records say. Waiting times are in seconds; null if nobody was served."""

    searches: int
    served: int
    wait_p50: float | None
    wait_p95: float | None
    failures: dict[FailureTag, int]


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What the runs of the replay say. `mitra_minutes`: minutes of chat per mitra who was online."""

    served: Interval
    wait_p50: Interval | None
    wait_p95: Interval | None
    failures: dict[FailureTag, Interval]
    sessions_per_mitra: Interval
    busiest_mitra: Interval


class MitraLoad(msgspec.Struct, frozen=True, kw_only=True):
    """How many sessions a mitra had, as recorded and in the replay. `id` is null for the extra mitras together."""

    id: UUID | None
    display_name: str
    happened: int
    as_it_was: float
    what_if: float


class WhatIfAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The records, the replay with the real settings, and the replay with the change, over the same random numbers.

    `served_more`: the difference between the two replays, run by run.
    """

    since: datetime
    until: datetime
    runs: int
    is_cut: bool
    happened: Happened
    as_it_was: Replayed
    what_if: Replayed
    served_more: Interval
    mitras: list[MitraLoad]
    estimated: list[Estimate]


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """A what-if. `progress` is from 0 to 1. `answer` is null until `status` is `done`."""

    id: UUID
    status: WhatIfStatus
    question: WhatIfQuestion
    asked_by: OperatorReference
    asked_at: datetime
    progress: float
    finished_at: datetime | None
    problem: str | None
    answer: WhatIfAnswer | None


class WhatIfBegun(msgspec.Struct, frozen=True):
    """The id of the what-if that a worker will run."""

    id: UUID


class WhatIfList(msgspec.Struct, frozen=True):
    """The newest what-ifs, at most 50."""

    items: list[WhatIf]
    next_cursor: str | None = None
