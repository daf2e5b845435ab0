"""The kit opened with the words, and what its places show."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from appliance.clock import utc_now
from appliance.commands.recover_show import (
    looks_body,
    print_looks,
    print_proposal,
    proposal_body,
)
from appliance.commands.recover_words import read_words
from appliance.commands.session import Answer, Session
from appliance.errors import (
    InvalidInput,
    KitDoesNotOpen,
    NotFound,
    SecretUnreadable,
    TargetError,
    TargetListUnreadable,
    TargetRefuses,
    TargetUnreachable,
)
from appliance.language import mark
from appliance.replication import kit as kits
from appliance.replication import recover_progress
from appliance.replication.kit import KitFile
from appliance.replication.open_kit_target import KitTarget, open_kit_target, read_kit_target
from appliance.replication.recover import altered
from appliance.replication.recover_choice import Look, Proposal, look, propose
from appliance.replication.target import Target
from appliance.vault.secret import Secret


class Kit:
    """The kit file, opened with the words."""

    def __init__(self, file: KitFile, secret: Secret) -> None:
        self.box_id = file.box_id
        self.signer = kits.signer_from_text(file.signer)
        self.identity = kits.identities(file, secret)
        self.targets = [read_kit_target(each) for each in file.targets]


def open_kit(session: Session, place: Path | None, words_fd: int | None) -> Kit:
    """Return the kit, opened.

    Raises:
        InvalidInput: no kit file was given, or it is none.
        KitDoesNotOpen: the words are of another kit.
        WordUnknown, WordsWrong, SheetTwice, SheetMissing, SheetOfAnotherKit.
    """
    if place is None:
        raise InvalidInput("kit", mark("The kit file: --kit FILE."))
    data = place.read_bytes()
    if not data.startswith(kits.FILE_MAGIC):
        raise InvalidInput("kit", mark("This is not a kit file of Armoire."))
    secret = read_words(session, words_fd)
    try:
        return Kit(kits.read_file(data, secret), secret)
    except SecretUnreadable as error:
        raise KitDoesNotOpen from error


class Search:
    """The places of the kit, and what they show."""

    def __init__(
        self, session: Session, kit: Kit, chosen: Sequence[str], disks: Sequence[Path]
    ) -> None:
        known = {each.name for each in kit.targets}
        for name in chosen:
            if name not in known:
                raise NotFound("target", name)
        self._session = session
        self.kit = kit
        self.targets = [each for each in kit.targets if not chosen or each.name in chosen]
        if not self.targets:
            raise InvalidInput("kit", mark("The kit file names no place of copies."))
        self.open_target: dict[str, Callable[[], Target]] = {
            each.name: open_kit_target(each, box_id=kit.box_id, disks=disks)
            for each in self.targets
        }
        self.looks: list[Look] = []

    def label(self, name: str) -> str:
        """Return what people call a place."""
        return next((each.label for each in self.targets if each.name == name), name)

    def look(self) -> Proposal:
        """Ask every place at once and return what to take.

        Raises:
            NothingToRecover: no place has a generation that opens.
        """
        data = self._session.settings.data
        self._session.tell(mark("Looking at %(count)s places…"), count=len(self.targets))
        with ThreadPoolExecutor(max(1, len(self.targets))) as pool:
            self.looks = list(pool.map(self._one, self.targets))
        progress = recover_progress.read_progress(data)
        is_begun = progress is not None and (
            progress.state is not None or (data / "state.sqlite").exists()
        )
        print_looks(self._session, self._session.err, self.targets, self.looks)
        only = (progress.target, progress.number) if progress is not None and is_begun else None
        return propose(self.looks, only=only)

    def only_look(self) -> Answer:
        """Return what places show and what would be proposed; nothing is changed."""
        proposal = self.look()
        now = utc_now()
        return Answer(
            {"places": looks_body(self.looks), "proposal": proposal_body(proposal)},
            lambda out: print_proposal(self._session, out, self.targets, proposal, now),
        )

    def _one(self, target: KitTarget) -> Look:
        try:
            with closing(self.open_target[target.name]()) as opened:
                found = look(
                    target.name,
                    opened,
                    signer=self.kit.signer,
                    box_id=self.kit.box_id,
                    identity=self.kit.identity,
                    known_bad=altered(self._session.settings.data, target.name),
                )
        except TargetError as error:
            found = Look(target.name, unreachable=error.code, error=error)
        if found.error is None:
            return found
        why = _why(found.error)
        return Look(target.name, unreachable=why.code, error=why)


def _why(error: TargetError) -> TargetError:
    """Return what a person can do something about: no list, because nobody answered or let us in."""
    cause = error.__cause__
    if isinstance(error, TargetListUnreadable) and isinstance(
        cause, TargetUnreachable | TargetRefuses
    ):
        return cause
    return error
