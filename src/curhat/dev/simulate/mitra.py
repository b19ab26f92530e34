"""What a simulated mitra does: go online, answer cards and extensions, chat, lose the network, change the toggle."""

import asyncio
from collections import Counter
from typing import Final

from curhat.dev.simulate.client import CATCH_UP_TIMEOUT_SECONDS, Device, Person, RunState
from curhat.dev.simulate.people import Chatting, MitraPlan, Reaction, dice_of
from curhat.dev.simulate.picture import Data, MitraPicture

# When the run is closing, the mitra ends a session that the customer has not ended within this time.
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

    def __init__(self, run_state: RunState, plan: MitraPlan) -> None:
        dice = dice_of(f"{plan.seed}/mitra {plan.index}/network")
        super().__init__(run_state, "mitra", plan.name, plan.phone_number, dice)
        self.plan = plan
        self.ready = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._chats: set[str] = set()
        self._seen: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()

    @property
    def picture(self) -> MitraPicture:
        """What the first device shows."""
        picture = self.device.picture
        assert isinstance(picture, MitraPicture)
        return picture

    async def live(self) -> None:
        """Sign in, work as planned, and go offline at the end of the run."""
        plan = self.plan
        try:
            await self.sign_in()
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
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
            # 0 and 1 s: short. 4 s: longer than the 3 s before others see the loss. 14 s: longer than the lease's 12 s.
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
            # If every mitra took the oldest card first, they would all compete for one customer.
            card = waiting[0] if self.dice.random() < 0.3 else self.dice.choice(waiting)
            decided.add(card["id"])
            await self._react(card)

    async def _react(self, card: Data) -> None:
        call_name: str = card["call_name"]
        react = self.plan.reaction_to_a_return if card["kind"] == "targeted" else self.plan.reaction
        reaction = react(call_name, self._seen[call_name])
        self._seen[call_name] += 1
        if reaction.what == "ignore":
            return
        await self.rest(reaction.after_seconds)
        if self.is_closing() or (card["id"] not in self.picture.cards and not reaction.too_late_too):
            return
        if reaction.what == "reject":
            rejected = await self.command(
                f"/requests/{card['id']}/reject",
                manner=reaction.manner,
                expected={"already_taken", "request_closed"},
            )
            self.run_state.tally.accepts[rejected.code or "rejected"] += 1
        else:
            await self._accept(f"/requests/{card['id']}/accept", reaction)

    async def _accept(self, path: str, reaction: Reaction) -> None:
        refusals = {"already_taken", "request_closed", "mitra_offline", "at_capacity"}
        accepted = await self.command(path, manner=reaction.manner, expected=refusals)
        self.run_state.tally.accepts[accepted.code or "accepted"] += 1
        if accepted.ok and reaction.once_more:
            again = await self.command(path)
            if again.ok and again.body["session"]["id"] != accepted.body["session"]["id"]:
                self.fault(f"a second accept gave another session: {accepted.body} {again.body}")

    # More time -------------------------------------------------------------------------------------------

    async def _answer_extensions(self) -> None:
        seen: set[str] = set()
        while not self.is_closing():
            new = [one for one_id, one in self.picture.extensions.items() if one_id not in seen]
            if not new:
                await self.device.changed()
            for extension in new:
                seen.add(extension["id"])
                if self._tasks is not None:
                    self._tasks.create_task(self._answer_extension(extension))

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
        self.run_state.tally.extension_answers[answered.code or f"{reaction.what}ed"] += 1
        if answered.ok and (answered.body["status"] == "rejected") != (reaction.what == "reject"):
            self.fault(f"the answer was {reaction.what}, but the extension is {answered.body}")

    # Chats -----------------------------------------------------------------------------------------------

    def picture_changed(self, device: Device) -> None:
        """Begin to chat in each session that is new on the first device."""
        if self._tasks is None or device is not self.device:
            return
        for session_id, session in self.picture.sessions.items():
            if session_id not in self._chats:
                self._chats.add(session_id)
                call_name: str = session["customer"]["call_name"]
                self._tasks.create_task(self._chat(session_id, self.plan.chatting(call_name)))

    async def _chat(self, session_id: str, chatting: Chatting) -> None:
        answered = 0
        while session_id in self.picture.sessions:
            written = self._written(session_id)
            if len(written) > answered:
                answered = len(written)
                await self._reply(session_id, written[-1], chatting)
                if chatting.ends_early and answered >= 2:
                    await self._end(session_id, "Koneksi saya buruk, maaf")
            elif self.is_closing():
                if not await self.device.until(
                    lambda: session_id not in self.picture.sessions, SESSION_END_TIMEOUT_SECONDS
                ):
                    await self._end(session_id, "Sesi uji selesai")
            else:
                await self.device.changed()
        await self.check_chat(session_id)

    def _written(self, session_id: str) -> list[str]:
        chat = self.picture.chats.get(session_id, {})
        return sorted(message["id"] for message in chat.values() if message["sender"] == "customer")

    async def _reply(self, session_id: str, last_message_id: str, chatting: Chatting) -> None:
        if chatting.reads:
            await self.read_up_to(session_id, last_message_id)
        await self.device.type_in(session_id)
        await self.rest(chatting.typing_seconds)
        await self.say(session_id, self.dice.choice(TEXTS), repeats=chatting.repeats)

    async def _end(self, session_id: str, reason: str) -> None:
        await self.command(f"/sessions/{session_id}/end", {"reason": reason}, expected={"session_ended"})
        if not await self.device.until(
            lambda: session_id not in self.picture.sessions, CATCH_UP_TIMEOUT_SECONDS
        ):
            self.fault(
                f"the session {session_id} has ended, but is shown after {CATCH_UP_TIMEOUT_SECONDS:.0f} s"
            )
