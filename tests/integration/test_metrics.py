"""Test that each metric counts its events, and that a refusal is logged without a phone number."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import valkey.asyncio
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from curhat.dev.embedded import EmbeddedServers
from curhat.kit import signals as signals_module
from curhat.kit.database import Database
from curhat.kit.signals import Signals
from curhat.payments import service as payments
from curhat.payments.gateway import ChargeAnswer, RefundAnswer
from tests.support.signed_in import RunningServer, development_settings, start_server


def value(name: str, **labels: str) -> float:
    """Return the present value of a metric of this process. The value is 0 before the first event."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def server(
    servers: EmbeddedServers, database_url: str, database: Database, valkey_client: valkey.asyncio.Valkey
) -> AsyncIterator[RunningServer]:
    """Start a development server on the test's own database."""
    async with start_server(development_settings(database_url, servers.valkey_url), database) as opened:
        yield opened


async def test_a_late_charge_and_its_refund_are_counted_with_their_amounts(
    server: RunningServer, database: Database
) -> None:
    before = {name: value(name) for name in ("curhat_charged_rupiah_total", "curhat_refunded_rupiah_total")}
    late, done = (
        value("curhat_charges_total", effect="refunding"),
        value("curhat_refunds_total", status="done"),
    )
    payment_id = await server.pending_payment(await server.make.customer(), price_rp=20_000)
    async with database.transaction() as tx:
        charge = await payments.begin_confirmation(tx, await payments.lock(tx, payment_id))
        assert charge is not None
    async with database.transaction() as tx:
        await payments.close(tx, [payment_id], "expired")
        await payments.record_charge_answer(tx, charge.key, ChargeAnswer("approved"))
        # The same answer arrives twice, but the metric counts the answer once.
        await payments.record_charge_answer(tx, charge.key, ChargeAnswer("approved"))
    assert value("curhat_charges_total", effect="refunding") == late + 1
    assert value("curhat_charged_rupiah_total") == before["curhat_charged_rupiah_total"] + 20_000
    refund_id = await database.fetchval("SELECT id FROM refunds WHERE payment_id = $1", payment_id)
    for _ in range(2):
        async with database.transaction() as tx:
            await payments.record_refund_answer(tx, refund_id, RefundAnswer("done"))
    assert value("curhat_refunds_total", status="done") == done + 1
    assert value("curhat_refunded_rupiah_total") == before["curhat_refunded_rupiah_total"] + 20_000


async def test_signals_that_do_not_reach_valkey_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable = valkey.asyncio.Valkey.from_url("valkey://127.0.0.1:1")
    full = value("curhat_signals_dropped_total", reason="queue_full")
    unsent = value("curhat_signals_dropped_total", reason="not_sent")
    monkeypatch.setattr(signals_module, "MAX_QUEUED_SIGNALS", 2)
    signals = Signals(unreachable)
    for _ in range(5):
        signals.publish("stream", b"")
    assert value("curhat_signals_dropped_total", reason="queue_full") == full + 3
    sending = asyncio.create_task(signals.run())
    async with asyncio.timeout(10):
        while value("curhat_signals_dropped_total", reason="not_sent") != unsent + 2:
            await asyncio.sleep(0.01)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await unreachable.aclose()


async def test_a_wait_for_a_connection_of_the_pool_is_measured(database_url: str) -> None:
    pool = await Database.connect(database_url, pool_size=1)
    short = value("curhat_database_wait_seconds_bucket", le="0.01")
    every = value("curhat_database_wait_seconds_count")
    holds = asyncio.create_task(pool.fetchval("SELECT pg_sleep(0.2)"))
    async with asyncio.timeout(5):
        while pool.pool.get_idle_size():
            await asyncio.sleep(0)
        await pool.fetchval("SELECT 1")
    await holds
    assert value("curhat_database_wait_seconds_count") == every + 2
    assert value("curhat_database_wait_seconds_bucket", le="0.01") == short + 1
    await pool.close()


async def test_wrong_codes_and_delayed_sign_ins_are_counted_and_logged_without_the_phone_number(
    server: RunningServer,
) -> None:
    wrong = value("curhat_refusals_total", code="code_invalid")
    locked_out = value("curhat_limited_total", limit="sign_in_delay")
    phone = "081234567890"
    with capture_logs() as lines:
        first, asked = [
            await server.http.post("/api/client/auth/otp/request", json={"phone": phone}) for _ in range(2)
        ]
        verified = await server.http.post(
            "/api/client/auth/otp/verify",
            json={
                "request_id": "01890000-0000-7000-8000-000000000000",
                "code": "000000",
                "transport": "bearer",
            },
        )
    assert (first.status_code, asked.status_code, verified.status_code) == (202, 429, 401)
    assert value("curhat_refusals_total", code="code_invalid") == wrong + 1
    assert value("curhat_limited_total", limit="sign_in_delay") == locked_out + 1
    refused = [line for line in lines if line["event"] == "request.refused"]
    assert [(line["reason"], line["operation"]) for line in refused] == [
        ("too_many_requests", "/api/client/auth/otp/request"),
        ("code_invalid", "/api/client/auth/otp/verify"),
    ]
    assert refused[0]["address"] == "127.0.0.1"
    assert not [line for line in lines if phone.lstrip("0") in str(line)]
