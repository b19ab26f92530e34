"""The HTTP operations of a journey. Each operation opens its own transactions, and calls services in them."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from litestar import Response, get, patch, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from curhat.accounts import service as accounts
from curhat.content.texts.errors import AcceptanceNeeded
from curhat.journeys import charging, money, paying, renaming, searching
from curhat.journeys.availability import all_candidates_or_none, ask_gate, candidates_or_none, mitra_status
from curhat.journeys.schemas import (
    AcceptedRequest,
    Confirmation,
    CustomerPayment,
    CustomerProfile,
    CustomerState,
    MitraState,
    MitraStatusAnswer,
    PaymentOrder,
    ProfileChange,
)
from curhat.journeys.single_flight import SingleFlight
from curhat.journeys.snapshot import customer_state, mitra_state, with_presence
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import (
    AcknowledgementNeeded,
    BusinessError,
    NotFound,
    PresenceUnknown,
    Suspended,
    ValidationFailed,
)
from curhat.kit.http import AnyRequest, command, read_idempotent_request, to_answer, to_response
from curhat.kit.idempotency import (
    Answer,
    IdempotentRequest,
    begin_long,
    finish_long,
    keep_refusal,
    run_idempotent,
)
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_SIGNED_IN, MITRA_WITH_KEY, SIGNED_IN, WITH_KEY, answers
from curhat.kit.page import Page
from curhat.kit.queries import read_clock
from curhat.pairing import cards, views
from curhat.pairing import service as pairing
from curhat.pairing.errors import (
    AlreadyTaken,
    AtCapacity,
    FallbackDecided,
    MitraOffline,
    MitraUnavailable,
    NoMitraAvailable,
    PairingDecided,
    RequestClosed,
)
from curhat.pairing.schemas import Pairing, Payment, RequestList
from curhat.payments.errors import (
    JourneyInProgress,
    PaymentClosed,
    PaymentConfirmed,
    PaymentConfirming,
    PaymentDeclined,
    PaymentExpired,
)
from curhat.payments.gateway import ChargeAnswer, Gateway
from curhat.presence.service import Presence
from curhat.pricing import service as pricing
from curhat.pricing.errors import TrialUsed

# The signed-in user who sends the HTTP request. The module accounts/guards.py provides this identity.
Customer = NamedDependency[Identity]
Mitra = NamedDependency[Identity]


@get(
    "/api/client/me",
    operation_id="get_customer_profile",
    responses=answers({200: CustomerProfile}, *SIGNED_IN),
)
async def get_profile(database: NamedDependency[Database], customer: Customer) -> CustomerProfile:
    """Return the customer's own profile."""
    async with database.transaction() as tx:
        return await _profile(tx, customer.user_id)


@patch(
    "/api/client/me",
    operation_id="change_customer_profile",
    responses=answers({200: CustomerProfile}, *SIGNED_IN, ValidationFailed),
)
async def change_profile(
    database: NamedDependency[Database], customer: Customer, data: JSONBody[ProfileChange]
) -> CustomerProfile:
    """Change the customer's call name. A mitra learns nothing else that identifies the customer (X.4)."""
    async with database.transaction() as tx:
        await renaming.rename_customer(tx, customer.user_id, data.call_name)
        return await _profile(tx, customer.user_id)


async def _profile(tx: Transaction, customer_id: UUID) -> CustomerProfile:
    account = await accounts.customer_profile(tx, customer_id)
    trial_available = await pricing.trial_available(tx, customer_id)
    return CustomerProfile(**msgspec.structs.asdict(account), trial_available=trial_available)


@post(
    "/api/client/payments",
    responses=answers(
        {201: Payment},
        *WITH_KEY,
        Suspended,
        AcknowledgementNeeded,
        NotFound,
        NoMitraAvailable,
        MitraUnavailable,
        TrialUsed,
        JourneyInProgress,
        AcceptanceNeeded,
        PresenceUnknown,
    ),
)
async def open_payment(
    request: AnyRequest,
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
    customer: Customer,
    data: JSONBody[PaymentOrder],
) -> Response[bytes]:
    """Open a payment session for an offer, if a mitra is available at this moment (1, 2a).

    If the customer chose the mitra of a past chat, only the status of that mitra counts (3.6). A customer who has not
    accepted the newest texts gets 409 `acceptance_needed` (P.1).
    """
    gate = await ask_gate(database, presence, customer.user_id, data.target_mitra_id)
    return await command(
        request,
        database,
        customer,
        lambda tx: paying.open_payment(tx, customer.user_id, data.offer_id, gate, data.target_mitra_id),
        status=201,
    )


@get(
    "/api/client/payments",
    responses=answers({200: Page[CustomerPayment]}, *SIGNED_IN, ValidationFailed),
)
async def list_payments(
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
    customer: Customer,
    cursor: FromQuery[str | None] = None,
    session_id: FromQuery[UUID | None] = None,
    news: FromQuery[bool] = False,
) -> Page[CustomerPayment]:
    """Return every payment of the customer, newest first, with what became of it (X.12).

    With `session_id`, return only the payments of this session and of its extensions. With `news`, return only what the
    home screen notes: paid money under review, and a failed search, a decision or a refund that the customer has not
    seen. News is one page, and `news` goes without the other parameters.
    """
    async with database.transaction() as tx:
        if news:
            page = await money.read_news(tx, customer.user_id)
        else:
            page = await money.read_payments(tx, customer.user_id, cursor, session_id=session_id)
    return Page(
        items=[
            await paying.as_shown(database, presence, customer.user_id, payment) for payment in page.items
        ],
        next_cursor=page.next_cursor,
    )


@get(
    "/api/client/payments/{payment_id:uuid}",
    responses=answers({200: CustomerPayment}, *SIGNED_IN, NotFound),
)
async def get_payment(
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
    customer: Customer,
    payment_id: FromPath[UUID],
) -> CustomerPayment:
    """Return one of the customer's payments, with the payment's latest pairing and what became of the payment."""
    async with database.transaction() as tx:
        payment = await money.read_payment(tx, payment_id, customer.user_id)
    return await paying.as_shown(database, presence, customer.user_id, payment)


@post(
    "/api/client/payments/{payment_id:uuid}/seen",
    status_code=204,
    responses=answers({204: None}, *SIGNED_IN, NotFound),
)
async def mark_payment_seen(
    database: NamedDependency[Database], customer: Customer, payment_id: FromPath[UUID]
) -> None:
    """Note that the customer has seen what became of this payment. The home screens of all devices stop noting it."""
    async with database.transaction() as tx:
        await money.mark_seen(tx, payment_id, customer.user_id)


@post(
    "/api/client/payments/{payment_id:uuid}/confirm",
    status_code=200,
    responses=answers(
        {200: Confirmation, 202: Confirmation},
        *WITH_KEY,
        Suspended,
        NotFound,
        PaymentDeclined,
        PaymentExpired,
        PaymentClosed,
        TrialUsed,
        NoMitraAvailable,
        MitraUnavailable,
        PresenceUnknown,
    ),
)
async def confirm_payment(
    request: AnyRequest,
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
    gateway: NamedDependency[Gateway],
    customer: Customer,
    payment_id: FromPath[UUID],
) -> Response[bytes]:
    """Confirm a payment and charge it. The transaction that confirms the payment also begins the search.

    If the search could ask nobody, nothing is charged, and the payment stays pending (1.8).
    If the gateway's answer is not known within 5 s, the HTTP status is 202, and an event reports the outcome later.
    The server calls the gateway between two transactions. If the process dies at any point, a deadline finishes the
    charge.
    """
    idempotent = await read_idempotent_request(request, customer)
    candidates = await candidates_or_none(presence)
    try:
        async with database.transaction() as tx:
            stored = await begin_long(tx, idempotent)
            if stored is not None:
                return to_response(stored)
            attempt = await paying.begin_confirmation(tx, customer.user_id, payment_id, candidates)
            if attempt is None:
                return await _finish_confirmation(tx, idempotent, payment_id, None, candidates)
        charged = await charging.charge(database, presence, gateway, attempt)
        # While the server called the gateway, mitras perhaps went online or offline (4.4).
        candidates = await candidates_or_none(presence)
        async with database.transaction() as tx:
            return await _finish_confirmation(tx, idempotent, payment_id, charged, candidates)
    except BusinessError as error:
        await keep_refusal(database, idempotent, error)
        raise


async def _finish_confirmation(
    tx: Transaction,
    idempotent: IdempotentRequest,
    payment_id: UUID,
    charged: ChargeAnswer | None,
    candidates: Sequence[UUID] | None,
) -> Response[bytes]:
    payment = await views.payment_view(tx, payment_id, idempotent.user_id)
    # Either `charging.charge` or an earlier callback of the gateway has recorded this answer.
    if charged is not None and charged.status == "declined":
        if payment.status == "pending":
            raise PaymentDeclined
        if payment.status == "expired":
            raise PaymentExpired
    payment = await paying.shown_with(tx, payment, idempotent.user_id, candidates)
    waits = payment.status in ("pending", "confirming")
    answer = to_answer(Confirmation(payment=payment, pairing=payment.pairing), 202 if waits else 200)
    await finish_long(tx, idempotent, answer)
    return to_response(answer)


@post(
    "/api/client/payments/{payment_id:uuid}/cancel",
    status_code=200,
    responses=answers(
        {200: Payment},
        *WITH_KEY,
        NotFound,
        PaymentConfirming,
        PaymentConfirmed,
        PaymentExpired,
        PaymentClosed,
    ),
)
async def cancel_payment(
    request: AnyRequest, database: NamedDependency[Database], customer: Customer, payment_id: FromPath[UUID]
) -> Response[bytes]:
    """Cancel a payment permanently: pending → abandoned. The payment's row stays (2a.4)."""
    return await command(
        request, database, customer, lambda tx: paying.cancel_payment(tx, customer.user_id, payment_id)
    )


@get("/api/client/pairings/{pairing_id:uuid}", responses=answers({200: Pairing}, *SIGNED_IN, NotFound))
async def get_pairing(
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
    customer: Customer,
    pairing_id: FromPath[UUID],
) -> Pairing:
    """Return one of the customer's pairings. A pairing is one attempt to find a mitra."""
    async with database.transaction() as tx:
        found = await views.pairing_view(tx, pairing_id, customer.user_id)
        if found.fallback is None or not found.fallback.allowed:
            return found
        # This pairing is the latest pairing of its payment, because no pairing begins while a fallback is open.
        payment = await views.payment_view(tx, found.payment_id, customer.user_id)
    shown = (await paying.as_shown(database, presence, customer.user_id, payment)).pairing
    assert shown is not None  # The payment has at least this pairing.
    return shown


@post(
    "/api/client/pairings/{pairing_id:uuid}/cancel",
    status_code=200,
    responses=answers({200: Pairing}, *WITH_KEY, NotFound, PairingDecided),
)
async def cancel_pairing(
    request: AnyRequest, database: NamedDependency[Database], customer: Customer, pairing_id: FromPath[UUID]
) -> Response[bytes]:
    """Stop the search. The pairing fails with the tag `customer_cancelled`, and an operator reviews the payment."""
    return await command(
        request, database, customer, lambda tx: searching.cancel_search(tx, customer.user_id, pairing_id)
    )


@post(
    "/api/client/pairings/{pairing_id:uuid}/fallback",
    responses=answers(
        {201: Pairing}, *WITH_KEY, NotFound, NoMitraAvailable, FallbackDecided, PresenceUnknown
    ),
)
async def take_fallback(
    request: AnyRequest,
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
    customer: Customer,
    pairing_id: FromPath[UUID],
) -> Response[bytes]:
    """Take the fallback: begin a blast under the same payment. The customer is not charged again (3.5)."""
    candidates = await candidates_or_none(presence)
    return await command(
        request,
        database,
        customer,
        lambda tx: searching.take_fallback(tx, customer.user_id, pairing_id, candidates),
        status=201,
    )


@post(
    "/api/client/pairings/{pairing_id:uuid}/decline-fallback",
    status_code=204,
    responses=answers({204: None}, *WITH_KEY, NotFound, FallbackDecided),
)
async def decline_fallback(
    request: AnyRequest, database: NamedDependency[Database], customer: Customer, pairing_id: FromPath[UUID]
) -> Response[None]:
    """Decline the fallback. The journey ends, and an operator reviews the payment (3.8)."""
    return await command(
        request, database, customer, lambda tx: pairing.decline_fallback(tx, pairing_id, customer.user_id)
    )


@get(
    "/api/client/mitras/{mitra_id:uuid}/status",
    responses=answers({200: MitraStatusAnswer}, *SIGNED_IN, NotFound, PresenceUnknown),
)
async def get_mitra_status(
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
    customer: Customer,
    mitra_id: FromPath[UUID],
) -> MitraStatusAnswer:
    """Return the status of a past chat's bestie. The client asks when the customer taps "Curhat lagi" (3.3, 3.4)."""
    return await mitra_status(database, presence, customer.user_id, mitra_id)


@get("/api/client/state", responses=answers({200: CustomerState}, *SIGNED_IN))
async def get_customer_state(
    database: NamedDependency[Database], presence: NamedDependency[Presence], customer: Customer
) -> CustomerState:
    """Return everything that a customer's client shows, and the stream position of this snapshot."""
    state = await customer_state(database, customer.user_id)
    return await with_presence(database, presence, customer.user_id, state)


@get("/api/mitra/state", responses=answers({200: MitraState}, *MITRA_SIGNED_IN))
async def get_mitra_state(
    database: NamedDependency[Database], presence: NamedDependency[Presence], mitra: Mitra
) -> MitraState:
    """Return everything that a mitra's client shows, and the stream position of this snapshot."""
    return await mitra_state(database, presence, mitra.user_id)


@get("/api/mitra/requests", responses=answers({200: RequestList}, *MITRA_SIGNED_IN))
async def list_requests(database: NamedDependency[Database], mitra: Mitra) -> RequestList:
    """Return the requests that this mitra can accept now."""
    async with database.transaction() as tx:
        requests = await cards.open_requests(tx, [mitra.user_id])
        return RequestList(items=requests.get(mitra.user_id, []), server_now=await read_clock(tx))


@post(
    "/api/mitra/requests/{request_id:uuid}/accept",
    status_code=200,
    responses=answers(
        {200: AcceptedRequest},
        *MITRA_WITH_KEY,
        NotFound,
        AlreadyTaken,
        RequestClosed,
        MitraOffline,
        AtCapacity,
    ),
)
async def accept_request(
    request: AnyRequest, database: NamedDependency[Database], mitra: Mitra, request_id: FromPath[UUID]
) -> Response[bytes]:
    """Accept a request. Only one mitra wins. If the winner accepts again, the answer is the same session (2b.5)."""
    idempotent = await read_idempotent_request(request, mitra)
    flight = SingleFlight(idempotent.lock)

    async def step(tx: Transaction) -> Answer:
        return (await searching.accept(tx, mitra.user_id, request_id, idempotent)).answer

    try:
        answer = await run_idempotent(
            database,
            idempotent,
            step,
            step_keeps_key=True,
            refuse_early=lambda: searching.refuse_if_decided(database, request_id, idempotent, flight),
        )
    finally:
        flight.leave()
    return to_response(answer)


@post(
    "/api/mitra/requests/{request_id:uuid}/reject",
    status_code=204,
    responses=answers({204: None}, *MITRA_WITH_KEY, NotFound, AlreadyTaken, RequestClosed),
)
async def reject_request(
    request: AnyRequest,
    database: NamedDependency[Database],
    presence: NamedDependency[Presence],
    mitra: Mitra,
    request_id: FromPath[UUID],
) -> Response[None]:
    """Reject a request. The service does not ask this mitra again for this pairing."""
    candidates = await all_candidates_or_none(presence)
    return await command(
        request, database, mitra, lambda tx: pairing.reject(tx, request_id, mitra.user_id, candidates)
    )


ROUTES: list[BaseRouteHandler] = [
    get_profile,
    change_profile,
    open_payment,
    list_payments,
    get_payment,
    mark_payment_seen,
    confirm_payment,
    cancel_payment,
    get_pairing,
    cancel_pairing,
    take_fallback,
    decline_fallback,
    get_mitra_status,
    get_customer_state,
    get_mitra_state,
    list_requests,
    accept_request,
    reject_request,
]
