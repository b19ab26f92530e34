"""The steps of a simulated mitra: go online, answer cards and extensions, chat, lose the network, change the toggle."""

import asyncio
from collections import Counter
from typing import Final

from curhat.dev.simulate.client import Device, Person, RunState
from curhat.dev.simulate.people import Chatting, MitraPlan, dice_of
from curhat.dev.simulate.picture import Data, MitraPicture

# When the run is closing, the mitra ends a session that the customer has not ended within SESSION_END_TIMEOUT_SECONDS.
SESSION_END_TIMEOUT_SECONDS: Final = 10.0

TEXTS: Final = (
    "Halo, aku di sini ya.",
    "Cerita aja pelan-pelan.",
    "Wajar kok kalau kamu ngerasa begitu.",
    "Terus, apa yang paling berat?",
    "Peluk jauh 🤗",
)


class Mitra(Person):
    """A simulated mitra."""

    picture: MitraPicture

    def __init__(self, run_state: RunState, plan: MitraPlan) -> None:
        dice = dice_of(f"{plan.seed}/mitra {plan.index}/network")
        super().__init__(run_state, "mitra", plan.name, plan.phone_number, dice)
        self.plan = plan
        self.ready = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._chats: set[str] = set()
        self._seen: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()

    async def live(self) -> None:
        """Sign in, work as planned, and go offline at the end of the run."""
        plan = self.plan
        try:
            await self.sign_in()
            async with self._tasks as tasks:
                await self.connect(plan.devices, tasks)
                await self._set_online(True)
                self.ready.set()
                tasks.create_task(self._take_cards())
                tasks.create_task(self._answer_extensions())
                if plan.trouble_seconds:
                    tasks.create_task(self._lose_networks())
                if plan.toggle_seconds:
                    tasks.create_task(self._change_the_toggle())
                await self.run_state.over.wait()
                await self._set_online(False)
                await self.disconnect()
        finally:
            self.ready.set()

    async def _set_online(self, online: bool) -> None:
        answer = await self.call("PUT", "/api/mitra/presence", {"online": online})
        if answer.ok and answer.body["online"] != online:
            self.fault(f"the toggle was set to {online}, but is {answer.body}")

    async def _lose_networks(self) -> None:
        while not self.is_closing():
            # 4 s is longer than the 3 s after which other people see that the mitra has lost the network. 14 s is
            # longer than the lease's 12 s.
            await self.trouble(self.plan.trouble_seconds, self.dice.choice((0, 0, 1, 4, 14)))

    async def _change_the_toggle(self) -> None:
        while not self.is_closing():
            await self.rest(self.plan.toggle_seconds)
            if not self.is_closing():
                await self._set_online(False)
                await self.rest(self.dice.uniform(0.5, 4))
                await self._set_online(True)

    # Cards -----------------------------------------------------------------------------------------------

    async def _take_cards(self) -> None:
        decided: set[str] = set()
        while not self.is_closing():
            # A card that closed and was offered again needs a new decision.
            decided &= self.picture.cards.keys()
            waiting = [card for card_id, card in self.picture.cards.items() if card_id not in decided]
            if not waiting:
                await self.device.changed()
                continue
            # If every mitra took the oldest card first, all mitras would compete for one customer.
            card = waiting[0] if self.dice.random() < 0.3 else self.dice.choice(waiting)
            decided.add(card["id"])
            await self._react(card)

    async def _react(self, card: Data) -> None:
        call_name: str = card["call_name"]
        reaction = self.plan.reaction(call_name, self._seen[call_name], returning=card["kind"] == "targeted")
        self._seen[call_name] += 1
        if reaction.what == "ignore":
            return
        await self.rest(reaction.after_seconds)
        if self.is_closing() or (card["id"] not in self.picture.cards and not reaction.too_late_too):
            return
        refusals = {"already_taken", "request_closed"}
        if reaction.what == "accept":
            refusals |= {"mitra_offline", "at_capacity"}
        path = f"/requests/{card['id']}/{reaction.what}"
        answered = await self.command(path, manner=reaction.manner, expected=refusals)
        self.tally.accepts[answered.code or f"{reaction.what}ed"] += 1
        if reaction.what == "accept" and answered.ok and reaction.once_more:
            again = await self.command(path)
            if again.ok and again.body["session"]["id"] != answered.body["session"]["id"]:
                self.fault(f"a second accept gave another session: {answered.body} {again.body}")

    # Extensions ------------------------------------------------------------------------------------------

    async def _answer_extensions(self) -> None:
        seen: set[str] = set()
        while not self.is_closing():
            for extension_id in self.picture.extensions.keys() - seen:
                seen.add(extension_id)
                self._tasks.create_task(self._answer_extension(self.picture.extensions[extension_id]))
            await self.device.changed()

    async def _answer_extension(self, extension: Data) -> None:
        session = self.picture.sessions.get(extension["session_id"])
        if session is None:
            return
        call_name: str = session["customer"]["call_name"]
        self._asked[call_name] += 1
        reaction = self.plan.extension_reaction(call_name, self._asked[call_name])
        if reaction.what == "ignore":
            return
        await self.rest(reaction.after_seconds)
        answered = await self.command(
            f"/extensions/{extension['id']}/{reaction.what}",
            manner=reaction.manner,
            expected={"extension_decided"},
        )
        self.tally.extension_answers[answered.code or f"{reaction.what}ed"] += 1
        if answered.ok and (answered.body["status"] == "rejected") != (reaction.what == "reject"):
            self.fault(f"the answer was {reaction.what}, but the extension is {answered.body}")

    # Chats -----------------------------------------------------------------------------------------------

    def picture_changed(self, device: Device) -> None:
        """Begin to chat in each session that is new on the first device."""
        if device is not self.device:
            return
        for session_id, session in self.picture.sessions.items():
            if session_id not in self._chats:
                self._chats.add(session_id)
                call_name: str = session["customer"]["call_name"]
                self._tasks.create_task(self._chat(session_id, self.plan.chatting(call_name)))

    async def _chat(self, session_id: str, chatting: Chatting) -> None:
        answered = 0
        while session_id in self.picture.sessions:
            received = self.picture.message_ids(session_id, "customer")
            if len(received) > answered:
                answered = len(received)
                if chatting.reads:
                    await self.read_up_to(session_id, received[-1])
                await self.type_and_say(session_id, self.dice.choice(TEXTS), chatting)
                if chatting.ends_early and answered >= 2:
                    await self.end_session(session_id, {"reason": "Koneksi saya buruk, maaf"})
            elif not self.is_closing():
                await self.device.changed()
            elif not await self.device.until(
                lambda: session_id not in self.picture.sessions, SESSION_END_TIMEOUT_SECONDS
            ):
                await self.end_session(session_id, {"reason": "Sesi uji selesai"})
        await self.check_chat(session_id)
