"""The classes of data: what each holds, how long it is kept and why, who can see it, and what deletes it (P.7).

This list is the only place that says how long data is kept. `docs/privacy.md` shows it. `curhat doctor` and a metric
use the names. A test checks that each table of the schema is in exactly one class.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

# The classes whose rows the worker deletes when their time is over. These names are labels of a metric.
TimedClass = Literal[
    "chat text",
    "reports",
    "notices",
    "ratings",
    "events",
    "answers to repeated requests",
    "one-time codes",
    "known devices",
    "sign-ins",
    "sign-ins of operators",
    "tries of operators to sign in",
    "push messages",
    "exports",
    "phones of deleted accounts",
]
TIMED_CLASSES: Final[tuple[TimedClass, ...]] = get_args(TimedClass)

_ONE_DAY: Final = "24 hours."
_MONEY: Final = "Accounting records must be kept for 10 years, in Indonesia (UU KUP, article 28 (11))."
_ACCOUNT: Final = "The service needs it while the account exists. Deleting the account deletes it (P.3)."
_NOT_PERSONAL: Final = "It says nothing about a person."


@dataclass(frozen=True, slots=True, kw_only=True)
class DataClass:
    """One class of data.

    `tables` are the tables that hold it. `kept` says for how long, in words. `deleted_by` is the dotted name of the
    function that deletes rows whose time is over, or None if no time ends them.
    """

    name: str
    holds: str
    tables: tuple[str, ...]
    kept: str
    why: str
    seen_by: str
    deleted_by: str | None = None


CLASSES: Final = (
    # Safety -------------------------------------------------------------------------------------------------------
    DataClass(
        name="chat text",
        holds="The messages of a chat, with their times and read marks.",
        tables=("messages",),
        kept="12 months after the chat's end. If the customer deletes the chat, it is deleted within 72 hours, and "
        "only an operator can read it before. If a report holds it, until 90 days after the decision.",
        why="People return to what helped them, and a report needs the text.",
        seen_by="Its customer. Its mitra, for 30 days after the end. An operator with a ground and an audit entry.",
        deleted_by="curhat.sessions.service.destroy_due_texts",
    ),
    DataClass(
        name="reports",
        holds="Reports and concerns: reason, note, marked messages, decision, appeal.",
        tables=("reports",),
        kept="24 months after the last step.",
        why="Operators recognise repeated behaviour, and an appeal needs the decision.",
        seen_by="The reporter sees the own report and its outcome. Operators. The reported person never sees it.",
        deleted_by="curhat.privacy.retention.service.prune_reports",
    ),
    DataClass(
        name="notices",
        holds="What a person was told about a decision.",
        tables=("notices",),
        kept="24 months.",
        why="The person can read the decision again, and can appeal.",
        seen_by="The person. Operators.",
        deleted_by="curhat.privacy.retention.service.prune_notices",
    ),
    DataClass(
        name="ratings",
        holds="What a customer answered after a session, with at most five tags.",
        tables=("ratings",),
        kept="24 months.",
        why="Operators notice what hurts.",
        seen_by="The customer. Operators. A mitra sees only sums of at least ten ratings by five customers (T.6).",
        deleted_by="curhat.privacy.retention.service.prune_ratings",
    ),
    DataClass(
        name="blocks",
        holds="Who blocked whom, after which chat.",
        tables=("blocks",),
        kept="Until the person who blocked undoes it, or deletes the account.",
        why="The two people are never paired again.",
        seen_by="The person who blocked. Operators see how many there are. The other side never sees it.",
    ),
    # Signing in, and messages in transit --------------------------------------------------------------------------
    DataClass(
        name="events",
        holds="What changed for a person, also new messages, for devices that were without a network.",
        tables=("stream_events",),
        kept=_ONE_DAY,
        why="A device that comes back catches up. After a day it reads the whole state again.",
        seen_by="The person's devices.",
        deleted_by="curhat.realtime.service.prune",
    ),
    DataClass(
        name="answers to repeated requests",
        holds="The answer to a command, under the key that the client chose.",
        tables=("idempotency_keys",),
        kept=_ONE_DAY,
        why="A client that lost the answer repeats the request, and nothing happens twice.",
        seen_by="The client that sent the request.",
        deleted_by="curhat.kit.idempotency.prune",
    ),
    DataClass(
        name="one-time codes",
        holds="Phone number, digest of the code, digest of the network address that asked.",
        tables=("one_time_codes",),
        kept=_ONE_DAY,
        why="Signing in, and the limits against abuse.",
        seen_by="Nobody. The code itself is not stored.",
        deleted_by="curhat.accounts.service.prune",
    ),
    DataClass(
        name="known devices",
        holds="Digests of the secrets of devices on which a person has signed in.",
        tables=("known_devices",),
        kept="400 days after the sign-in.",
        why="Nobody else can lock a person out by asking for codes.",
        seen_by="Nobody.",
        deleted_by="curhat.accounts.service.prune",
    ),
    DataClass(
        name="sign-ins",
        holds="Digest of the token, device name as the browser tells it, times.",
        tables=("access_tokens", "push_subscriptions"),
        kept="7 days after the token has ended. The address for push messages is deleted with the end of the token.",
        why="The person sees the own devices, and can sign them out.",
        seen_by="The person. Operators see the devices, without the tokens.",
        deleted_by="curhat.accounts.service.prune",
    ),
    DataClass(
        name="push messages",
        holds="Messages to the lock screen. They contain no chat text.",
        tables=("push_messages",),
        kept="Until they expire, within a day.",
        why="The worker sends them, and repeats a failed sending.",
        seen_by="The push service of the browser's vendor sees an encrypted message.",
        deleted_by="curhat.notifications.service.prune",
    ),
    DataClass(
        name="exports",
        holds="When a person asked for the own data.",
        tables=("exports",),
        kept=_ONE_DAY,
        why="Three exports a day.",
        seen_by="Nobody.",
        deleted_by="curhat.privacy.export.service.prune",
    ),
    # The account --------------------------------------------------------------------------------------------------
    DataClass(
        name="people",
        holds="Phone number, call name of a customer, display name and capacity of a mitra.",
        tables=("people", "customers", "mitras"),
        kept="Until the account is deleted.",
        why=_ACCOUNT,
        seen_by="The person. The other side sees only the call name or display name. Operators see the number masked.",
    ),
    DataClass(
        name="texts of mitras",
        holds="Canned answers, and a mitra's private notes about own customers.",
        tables=("canned_answers", "customer_notes"),
        kept="Until the account of the mitra, or of the customer, is deleted.",
        why="The mitra's own tools.",
        seen_by="The mitra who wrote them.",
    ),
    DataClass(
        name="positions of streams",
        holds="How many events a person has got, and which payments a customer has looked at.",
        tables=("streams", "seen_payments"),
        kept="Until the account is deleted.",
        why=_ACCOUNT,
        seen_by="The person's devices.",
    ),
    DataClass(
        name="acceptances",
        holds="Which version of which text a person accepted in which role, and when.",
        tables=("acceptances",),
        kept="Until 5 years after the account is deleted. PostgreSQL keeps each one for at least 5 years.",
        why="They are the proof of a consent (UU PDP, articles 22 to 24).",
        seen_by="The person. Operators see how many people accepted a version.",
    ),
    DataClass(
        name="phones of deleted accounts",
        holds="A keyed hash of the phone number, with the used trial, a suspension, and who blocked the person.",
        tables=("erased_phones",),
        kept="12 months after the account is deleted.",
        why="Nobody leaves a suspension or a block behind by deleting the account (P.4).",
        seen_by="Nobody. A new account of the same phone number inherits it.",
        deleted_by="curhat.accounts.service.prune",
    ),
    DataClass(
        name="erasures",
        holds="Which account was deleted, when, and when its data was erased. It has no name and no phone number.",
        tables=("erasures",),
        kept="10 years.",
        why="The service can show that it erased, and what it must erase again after a restore (P.5).",
        seen_by="Nobody. The command line of the server.",
    ),
    # Money, and what explains it ----------------------------------------------------------------------------------
    DataClass(
        name="money",
        holds="Payments, charges, refunds, cases and their decisions, the nightly comparison with the gateway.",
        tables=(
            "payments",
            "charge_attempts",
            "refunds",
            "review_cases",
            "earlier_decisions",
            "book_differences",
            "closed_days",
            "status_changes",
        ),
        kept="10 years. After the account is deleted, on a person without name and phone number.",
        why=_MONEY,
        seen_by="The customer sees the own payments. Operators.",
    ),
    DataClass(
        name="pairings",
        holds="Searches, requests to mitras, failures, chats without their text, extensions.",
        tables=("pairings", "requests", "failed_pairing_events", "sessions", "extensions"),
        kept="10 years. After the account is deleted, on a person without name and phone number.",
        why=f"They show what a payment bought. {_MONEY}",
        seen_by="The customer and the mitra see the own chats. Operators.",
    ),
    DataClass(
        name="audit",
        holds="What operators did: who, when, from what to what. Requests to read a chat.",
        tables=("audit_entries", "configuration_changes", "restores", "transcript_requests"),
        kept="10 years.",
        why="The operators' work can be examined. A person can learn who read a chat.",
        seen_by="Admins. The person gets the entries about own chats with an export.",
    ),
    # The team -----------------------------------------------------------------------------------------------------
    DataClass(
        name="operators",
        holds="E-mail address, role, hash of the password, recovery codes, links of invitations.",
        tables=("operators", "operator_recovery_codes", "operator_links"),
        kept="10 years, because the audit names them. A link ends when it is used or expires.",
        why="The audit names operators.",
        seen_by="Admins.",
    ),
    DataClass(
        name="sign-ins of operators",
        holds="Digest of the token, device, network address, times.",
        tables=("operator_tokens",),
        kept="7 days after the token has ended.",
        why="Operators see the own devices.",
        seen_by="The operator. Admins.",
        deleted_by="curhat.control_center.operators.service.prune",
    ),
    DataClass(
        name="tries of operators to sign in",
        holds="Digests of the e-mail address and of the network address.",
        tables=("operator_sign_in_tries",),
        kept=_ONE_DAY,
        why="Limits against guessing passwords.",
        seen_by="Nobody.",
        deleted_by="curhat.control_center.operators.service.prune",
    ),
    # Figures and machinery ----------------------------------------------------------------------------------------
    DataClass(
        name="figures",
        holds="Counts per hour and day, how mitras answered per hour, weekly sums of ratings, replays of past demand.",
        tables=("hourly_counts", "mitra_hours", "mitra_hours_kept", "rating_sums", "code_days", "what_ifs"),
        kept="10 years. Counts of codes: 30 days.",
        why="Operators plan with them.",
        seen_by="Operators.",
    ),
    DataClass(
        name="help lines",
        holds="The published lists of help lines, and who published them.",
        tables=("help_line_versions",),
        kept="10 years.",
        why="It can be shown which numbers people were given, and when.",
        seen_by="Everybody. Who published a list: operators.",
    ),
    DataClass(
        name="machinery",
        holds="Prices, settings, published texts, timers, migrations.",
        tables=("offers", "configuration", "texts", "deadlines", "schema_migrations"),
        kept="While they are in use.",
        why=_NOT_PERSONAL,
        seen_by="Operators.",
    ),
    DataClass(
        name="development",
        holds="The inbox of codes and the records of the simulated gateway. In production, both are empty.",
        tables=(
            "development_inbox",
            "mock_gateway.charges",
            "mock_gateway.refunds",
            "mock_gateway.behaviours",
        ),
        kept="Until `make reset`.",
        why="Only development and rehearsals write them.",
        seen_by="Developers.",
    ),
)
