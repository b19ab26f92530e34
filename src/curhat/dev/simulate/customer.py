"""The steps of a simulated customer in each journey: look for a mitra, pay, search, chat.

The plan decides each step.
"""

import asyncio
import time
from datetime import datetime
from typing import Final

from curhat.dev.simulate.client import CATCH_UP_TIMEOUT_SECONDS, Person, RunState
from curhat.dev.simulate.people import CustomerPlan, ExtensionPlan, JourneyPlan, dice_of
from curhat.dev.simulate.picture import OPEN_EXTENSIONS, CustomerPicture, Data
from curhat.dev.simulate.report import Phase

# The statuses of a payment that was charged.
TAKEN: Final = frozenset({"confirmed", "served", "unserved"})
# A client polls availability every POLL_SECONDS (rule 1.3).
POLL_SECONDS: Final = 5.0
# The result of a confirmation can be unknown for CONFIRMATION_TIMEOUT_SECONDS. If the gateway's answer is lost, the
# server asks the gateway after 6 s, and then repeatedly.
CONFIRMATION_TIMEOUT_SECONDS: Final = 60.0
# The refusals of a confirmation when nobody can be asked (1.8), or when the customer has confirmed too often (X.13). A
# customer tries to confirm MAX_CONFIRMATIONS times, POLL_SECONDS apart, before leaving the payment.
NOT_NOW: Final = frozenset({"no_mitra_available", "mitra_unavailable", "too_many_requests"})
MAX_CONFIRMATIONS: Final = 6
# A search can stay undecided for MAX_LATE_SECONDS after its deadline.
MAX_LATE_SECONDS: Final = 15.0
# The gateway can take CHARGE_TIMEOUT_SECONDS to charge for an extension.
CHARGE_TIMEOUT_SECONDS: Final = 30.0
# A customer whose plan is to ignore a popup lets the popup expire if at most MAX_POPUP_WAIT_SECONDS are left. If more
# time is left, the customer declines the fallback.
MAX_POPUP_WAIT_SECONDS: Final = 75.0
# A customer who has received no event for ASK_AFTER_SECONDS asks the server.
ASK_AFTER_SECONDS: Final = 5.0

TEXTS: Final = (
    "Halo kak, lagi sibuk nggak?",
    "Hari ini capek banget.",
    "Aku bingung harus mulai dari mana 😔",
    "Makasih ya sudah mau dengerin.",
    "Menurut kakak gimana?",
    "Baris satu\nbaris dua <b>bukan tebal</b>",
)


class Customer(Person):
    """A simulated customer."""

    picture: CustomerPicture
    # The customer waits `answer_timeout_seconds` for the next chat message of the mitra.
    answer_timeout_seconds = 4.0

    def __init__(self, run_state: RunState, plan: CustomerPlan) -> None:
        dice = dice_of(f"{plan.seed}/customer {plan.index}/network")
        super().__init__(run_state, "customer", plan.name, plan.phone_number, dice)
        self.plan = plan
        self.finished = asyncio.Event()
        self._pairing_id = ""  # of the pairing that the customer waits for
        self._enter("away")

    def _enter(self, phase: Phase) -> None:
        self.tally.phases[self.plan.index] = phase

    async def live(self) -> None:
        """Sign in, make the planned journeys, and stay connected until the end of the run."""
        plan = self.plan
        try:
            await self.rest(plan.arrives_after_seconds)
            if self.is_closing():
                return
            self._enter("signing in")
            await self.sign_in(
                call_name=plan.name, mistypes=plan.mistypes_the_code, forgets=plan.forgets_the_name
            )
            async with asyncio.TaskGroup() as tasks:
                await self.connect(plan.devices, tasks)
                for number in range(plan.journeys):
                    if self.is_closing():
                        break
                    await self._journey(plan.journey(number), tasks)
                self._finish()
                await self.run_state.over.wait()
                await self.disconnect()
        finally:
            self._finish()

    def _finish(self) -> None:
        self._enter("done")
        self.finished.set()

    # One journey -----------------------------------------------------------------------------------------

    async def _journey(self, plan: JourneyPlan, tasks: asyncio.TaskGroup) -> None:
        self._enter("looking")
        mitra_id = await self._wants_again(plan)
        # If the customer has chosen a mitra, only the status of that mitra matters (3.6).
        if mitra_id is None:
            await self._wait_until_available()
        await self.rest(plan.hesitates_seconds)
        if self.is_closing():
            return
        offer = await self._choose_offer(plan)
        order = {"offer_id": offer["id"], "target_mitra_id": mitra_id}
        refusal = "no_mitra_available" if mitra_id is None else "mitra_unavailable"
        expected = {refusal, "too_many_requests"}
        opened = await self.command("/payments", order, manner=plan.open_manner, expected=expected)
        if not opened.ok:
            if mitra_id is not None:
                self.tally.returns[f"refused: {opened.body.get('status')}"] += 1
            await self.rest(POLL_SECONDS)
            return
        self.tally.journeys += 1
        self._enter("paying")
        payment_id: str = opened.body["id"]
        if opened.body["amount_rp"] != offer["price_rp"]:
            self.fault(f"the payment {opened.body} has another price than the offer {offer}")
        if await self._pay(plan, payment_id, offer):
            self._enter("searching")
            if plan.trouble:
                tasks.create_task(self.trouble(self.dice.uniform(0, 4), self.dice.choice((0, 0, 2))))
            if await self._search(plan, payment_id):
                self._enter("chatting")
                await self._chat(plan)
        self._enter("resting")
        await self.check_pictures()
        await self.rest(plan.rests_seconds)

    async def _wants_again(self, plan: JourneyPlan) -> str | None:
        """Return the id of the mitra with whom the customer last chatted.

        Returns None if the plan does not choose this mitra, or if the mitra is not available (3.4).
        """
        if not plan.comes_back:
            return None
        history = await self.get("/sessions")
        if not history.ok or not history.body["items"]:
            return None
        mitra_id: str = history.body["items"][0]["mitra"]["id"]
        status = await self.get(f"/mitras/{mitra_id}/status")
        if not status.ok:
            return None
        self.tally.returns[status.body["status"]] += 1
        return mitra_id if status.body["status"] == "available" else None

    async def _wait_until_available(self) -> None:
        while not self.is_closing():
            poll = await self.get("/mitra-availability")
            if poll.ok and poll.body["available"]:
                return
            await self.rest(POLL_SECONDS * self.dice.uniform(0.8, 1.2))

    async def _choose_offer(self, plan: JourneyPlan) -> Data:
        offers: list[Data] = (await self.get("/pricing?purpose=session")).body["offers"]
        trials = [offer for offer in offers if offer["is_trial"]]
        if trials and plan.wants_trial:
            return trials[0]
        priced = [offer for offer in offers if not offer["is_trial"]]
        return priced[int(plan.offer * len(priced))]

    async def _pay(self, plan: JourneyPlan, payment_id: str, offer: Data) -> bool:
        """Confirm the payment. Returns False if the customer left the payment screen, or if no charge succeeded."""
        if plan.opens_a_second:
            await self._open_second(payment_id, offer)
        await self.rest(plan.hesitates_seconds)
        if plan.leaves or self.is_closing():
            return await self._leave(plan, payment_id, "left the payment")
        if plan.behaviour != "approve":
            await self._tell_gateway(plan.behaviour, payment_id)
        status = await self._confirm(plan, payment_id)
        if status == "not now":
            return await self._leave(plan, payment_id, "nobody could be asked")
        if plan.behaviour == "decline" and not offer["is_trial"]:
            if status != "pending":
                self.fault(f"the payment {payment_id} was declined, but is {status}")
            await self._tell_gateway("approve", payment_id)
            status = await self._confirm(plan, payment_id)
        elif status == "pending" and not await self._was_charged(payment_id):
            # On a busy machine, the server can stop waiting before the gateway receives the charge.
            self.tally.charges_that_got_lost += 1
            status = await self._confirm(plan, payment_id)
        if status == "not now":
            return await self._leave(plan, payment_id, "nobody could be asked")
        if status not in TAKEN:
            self.fault(f"the payment {payment_id} was approved, but is {status}")
        return status in TAKEN

    async def _open_second(self, payment_id: str, offer: Data) -> None:
        order = {"offer_id": offer["id"]}
        second = await self.command("/payments", order, expected={"journey_in_progress", "too_many_requests"})
        if second.code == "too_many_requests":
            return
        if second.code != "journey_in_progress" or second.body.get("payment_id") != payment_id:
            self.fault(f"a second journey began beside {payment_id}: {second.status} {second.body}")

    async def _leave(self, plan: JourneyPlan, payment_id: str, why: str) -> bool:
        """Cancel the payment. Returns False."""
        await self.command(f"/payments/{payment_id}/cancel", manner=plan.cancel_manner)
        self.tally.unmatched[why] += 1
        return False

    async def _was_charged(self, payment_id: str) -> bool:
        books = await self.call("GET", f"/api/dev/gateway/charges?payment_id={payment_id}")
        return not books.ok or any(charge["status"] == "approved" for charge in books.body["charges"])

    async def _confirm(self, plan: JourneyPlan, payment_id: str) -> str | None:
        """Confirm the payment. While nobody can be asked, try again a few times.

        Returns the payment's status after the gateway's answer, or `not now`. Returns None if the status is unknown or
        the server refused.
        """
        expected = NOT_NOW | ({"payment_declined"} if plan.behaviour == "decline" else frozenset())
        tries = 1
        path = f"/payments/{payment_id}/confirm"
        while (
            confirmed := await self.command(path, manner=plan.confirm_manner, expected=expected)
        ).code in NOT_NOW:
            if tries == MAX_CONFIRMATIONS or self.is_closing():
                return "not now"
            tries += 1
            await self.rest(POLL_SECONDS)
        if confirmed.status == 202:
            return await self._until_answered(payment_id)
        if not confirmed.ok:
            return "pending" if confirmed.code == "payment_declined" else None
        status: str = confirmed.body["payment"]["status"]
        return status

    async def _until_answered(self, payment_id: str) -> str | None:
        until = time.monotonic() + CONFIRMATION_TIMEOUT_SECONDS
        while time.monotonic() < until:
            await self.device.until(lambda: self._status(payment_id) in TAKEN, 1)
            # Also ask the server. If the client's state still says `pending`, the confirmation event has perhaps not
            # arrived yet.
            payment = await self.get(f"/payments/{payment_id}")
            if payment.ok and payment.body["status"] != "confirming":
                status: str = payment.body["status"]
                return status
        return None

    async def _tell_gateway(self, behaviour: str, payment_id: str) -> None:
        await self.call("PUT", "/api/dev/gateway", {"behaviour": behaviour, "payment_id": payment_id})

    async def _search(self, plan: JourneyPlan, payment_id: str) -> bool:
        """Wait for a mitra, or cancel. After a failed targeted pairing, answer the popup of the fallback.

        Returns True if a session began.
        """
        while True:
            payment = await self.get(f"/payments/{payment_id}")
            if not payment.ok:
                return False
            pairing: Data = payment.body["pairing"]
            self._pairing_id = pairing["id"]
            standing = await self._until_decided(plan, payment_id, pairing)
            if standing is None:
                self.fault(f"the pairing {pairing['id']} is still undecided after its deadline")
                return False
            decided = await self.get(f"/pairings/{pairing['id']}")
            if decided.ok and (decided.body["status"] == "matched") != (standing == "served"):
                self.fault(f"the payment is {standing}, its pairing {decided.body}")
            if standing == "served":
                self.tally.matched += 1
                return await self._session_is_shown(decided.body["session_id"])
            if standing == "unserved" or not await self._take_another(plan, payment_id, decided.body):
                self.tally.unmatched[decided.body["failure_tag"]] += 1
                return False

    async def _until_decided(self, plan: JourneyPlan, payment_id: str, pairing: Data) -> str | None:
        """Wait for `served`, `unserved` or `fallback`. Cancel the search if the plan says so.

        Returns None if the search stays undecided.
        """
        decided = {"served", "unserved", "fallback"}
        window_seconds = _seconds_between(pairing["server_now"], pairing["deadline_at"])
        gives_up = plan.gives_up_after_seconds
        wait_seconds = window_seconds if gives_up is None else min(window_seconds, gives_up)
        standing = await self._until_status(payment_id, decided, wait_seconds, or_closing=True)
        if standing is None and (gives_up is not None or self.is_closing()):
            await self.command(
                f"/pairings/{pairing['id']}/cancel", manner=plan.cancel_manner, expected={"pairing_decided"}
            )
        return standing or await self._until_status(payment_id, decided, MAX_LATE_SECONDS)

    async def _take_another(self, plan: JourneyPlan, payment_id: str, failed: Data) -> bool:
        """Answer the popup of a fallback (3.5, 3.8). Returns True if a blast for the same payment began."""
        popups, path = self.tally.popups, f"/pairings/{failed['id']}"
        await self.rest(plan.hesitates_seconds)
        left_seconds = _seconds_between(failed["server_now"], failed["fallback"]["answer_by"])
        answer = "decline" if self.is_closing() else plan.popup_answer
        if answer == "take":
            taken = await self.command(
                f"{path}/fallback", manner=plan.popup_manner, expected={"no_mitra_available"}
            )
            if taken.ok:
                popups["taken"] += 1
                if taken.body["payment_id"] != payment_id or taken.body["kind"] != "blast":
                    self.fault(f"the fallback of {failed} began {taken.body}")
                return True
            popups[taken.code] += 1
        elif answer == "leave" and left_seconds <= MAX_POPUP_WAIT_SECONDS:
            popups["left"] += 1
            if not await self._until_status(payment_id, {"unserved"}, left_seconds + MAX_LATE_SECONDS):
                self.fault(f"the popup of {failed['id']} is open {MAX_LATE_SECONDS:.0f} s after its time")
            return False
        await self.command(f"{path}/decline-fallback", manner=plan.popup_manner)
        popups["declined"] += 1
        if not await self._until_status(payment_id, {"unserved"}, CATCH_UP_TIMEOUT_SECONDS):
            self.fault(f"the fallback of {failed['id']} was declined, and its payment is not unserved")
        return False

    async def _session_is_shown(self, session_id: str) -> bool:
        """Wait for the event of the session, which arrives after the event of the payment.

        Returns False if the mitra has already ended the session.
        """
        if await self.device.until(lambda: self.picture.session is not None, ASK_AFTER_SECONDS):
            return True
        session = await self.get(f"/sessions/{session_id}")
        if not session.ok or session.body["status"] == "ended":
            return False
        return await self.device.expect(
            lambda: self.picture.session is not None,
            CATCH_UP_TIMEOUT_SECONDS,
            f"the session {session_id} runs, but is not shown",
        )

    async def _until_status(
        self, payment_id: str, statuses: set[str], timeout_seconds: float, *, or_closing: bool = False
    ) -> str | None:
        """Wait until the picture or the server shows the payment with one of these statuses.

        Returns the status, or None if the time is up.
        """
        until = time.monotonic() + timeout_seconds
        while True:
            await self.device.until(
                lambda: self._status(payment_id) in statuses or (or_closing and self.is_closing()),
                min(ASK_AFTER_SECONDS, max(0.0, until - time.monotonic())),
            )
            status = self._status(payment_id)
            if status not in statuses:
                asked = await self.get(f"/payments/{payment_id}")
                status = self._standing(asked.body) if asked.ok else None
            if status in statuses:
                return status
            if time.monotonic() >= until or (or_closing and self.is_closing()):
                return None

    def _status(self, payment_id: str) -> str | None:
        payment = self.picture.payment
        if payment is not None and payment["id"] == payment_id:
            return self._standing(payment)
        return None if self.picture.session is None else "served"

    def _standing(self, payment: Data) -> str:
        """Return the payment's status, or `fallback` while the popup of the awaited pairing has no answer."""
        pairing = payment["pairing"]
        if payment["status"] == "confirmed" and pairing is not None and pairing["id"] == self._pairing_id:
            fallback = pairing["fallback"]
            if fallback is not None and fallback["allowed"]:
                return "fallback"
        status: str = payment["status"]
        return status

    async def _chat(self, plan: JourneyPlan) -> None:
        session = self.picture.session
        assert session is not None  # _search has waited for the session
        session_id: str = session["id"]
        chatting = plan.chatting
        for number in range(chatting.messages):
            if session_id not in self.picture.running() or self.is_closing():
                break
            text = TEXTS[(self.plan.index + number) % len(TEXTS)]
            if not (await self.type_and_say(session_id, text, chatting)).ok:
                break
            extension = plan.extension
            if extension is not None and number == extension.after_messages:
                await self._ask_for_more(extension, session_id)
                if extension.ends_meanwhile:
                    break
            if not chatting.ends_early:
                await self._listen(session_id, number + 1, reads=chatting.reads)
        await self.end_session(session_id, manner=plan.end_manner)
        if plan.writes_after_the_end and (await self.say(session_id, "Masih ada?")).ok:
            self.fault(f"a message was accepted after the end of the session {session_id}")
        await self.check_chat(session_id)
        history = await self.get("/sessions")
        if history.ok and session_id not in {session["id"] for session in history.body["items"]}:
            self.fault(f"the session {session_id} is not in the history")

    # Extensions ------------------------------------------------------------------------------------------

    async def _ask_for_more(self, plan: ExtensionPlan, session_id: str) -> None:
        """Request an extension and wait for its decision (section 5)."""
        offers: list[Data] = (await self.get("/pricing?purpose=extension")).body["offers"]
        offer = offers[int(plan.offer * len(offers))]
        before = self.picture.session
        path, order = f"/sessions/{session_id}/extensions", {"offer_id": offer["id"]}
        expected = {"session_ended", "too_many_requests"}
        asked = await self.command(path, order, manner=plan.manner, expected=expected)
        if not asked.ok or before is None or before["id"] != session_id:
            return
        extension_id: str = asked.body["id"]
        if asked.body["offer"]["price_rp"] != offer["price_rp"]:
            self.fault(f"the extension {asked.body} has another price than the offer {offer}")
        if plan.behaviour != "approve":
            await self._tell_gateway(plan.behaviour, asked.body["payment_id"])
        if plan.asks_twice:
            # The server refuses the second request while the first extension is open.
            await self.command(path, order, expected={"extension_pending", "session_ended"})
        if plan.ends_meanwhile:
            return
        window_seconds = _seconds_between(asked.body["server_now"], asked.body["deadline_at"])
        await self.device.expect(
            lambda: self._is_decided(session_id, extension_id),
            window_seconds + CHARGE_TIMEOUT_SECONDS + MAX_LATE_SECONDS,
            f"the extension {extension_id} is undecided",
        )

    def _is_decided(self, session_id: str, extension_id: str) -> bool:
        session = self.picture.session
        if session is None or session["id"] != session_id:
            return True
        extension = session["extension"]
        if extension is None or extension["id"] != extension_id:
            # If the picture shows a newer extension of the session, the extension `extension_id` was decided. If the
            # picture shows no extension, the event of the decision is missing.
            return extension is not None and extension["id"] > extension_id
        return extension["status"] not in OPEN_EXTENSIONS

    async def _listen(self, session_id: str, answers: int, *, reads: bool) -> None:
        await self.device.until(
            lambda: (
                len(self.picture.message_ids(session_id, "mitra")) >= answers
                or session_id not in self.picture.running()
                or self.is_closing()
            ),
            self.answer_timeout_seconds,
        )
        received = self.picture.message_ids(session_id, "mitra")
        if reads and received:
            await self.read_up_to(session_id, received[-1])


def _seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
