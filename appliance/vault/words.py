"""Recovery sheets: the recovery secret as SLIP-39 words, one sheet or two of three.

The secret is 16 random bytes; each sheet holds 20 words of the SLIP-39 list of 1,024, with a checksum
that notices up to three wrong words. The age identity that opens the copies is derived from the secret
with HKDF-SHA-256 (salt empty, info ``armoire recovery identity v1``) and written in Bech32 as age does.
Source: SLIP-0039 (satoshilabs/slips); RFC 5869; age-encryption.org/v1; BIP-0173 for Bech32.
"""

import difflib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pyrage
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from shamir_mnemonic import MnemonicError, Share, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.wordlist import WORD_INDEX_MAP, WORDLIST

from appliance.errors import SheetMissing, SheetOfAnotherKit, SheetTwice, WordsWrong, WordUnknown
from appliance.vault.secret import Secret

SECRET_BYTES: Final = 16
WORDS_PER_SHEET: Final = 20
#: Every word there is, by the alphabet.
LIST: Final[tuple[str, ...]] = tuple(WORDLIST)
INFO: Final = b"armoire recovery identity v1"
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def make_secret() -> Secret:
    """Return a new recovery secret, SECRET_BYTES random bytes."""
    return Secret(secrets.token_bytes(SECRET_BYTES))


def identity(secret: Secret) -> Secret:
    """Return the age identity ``AGE-SECRET-KEY-1…`` (ASCII) that ``secret`` stands for; always the same."""
    key = HKDF(SHA256(), length=32, salt=None, info=INFO).derive(secret.reveal())
    return Secret(_bech32("age-secret-key-", key).upper().encode("ascii"))


def recipient(secret: Secret) -> str:
    """Return the public half ``age1…`` of ``identity``: what the box seals to every night."""
    opened = pyrage.x25519.Identity.from_str(identity(secret).reveal().decode("ascii"))
    return str(opened.to_public())


def recipient_key(recipient: str) -> bytes:
    """Return the X25519 public key, 32 bytes, in an ``age1…``.

    Raises:
        ValueError: it is none, or a letter is wrong.
    """
    values = [_BECH32.find(each) for each in recipient.removeprefix("age1")[:-6]]
    number = 0
    for value in values:
        number = number << 5 | max(value, 0)
    spare = max(len(values) * 5 - 256, 0)
    key = (number >> spare).to_bytes(32, "big") if len(values) == 52 else b""
    # Written again it must be the same: every letter and the checksum are looked at by that.
    if not key or _bech32("age", key) != recipient:
        raise ValueError("no age recipient")
    return key


def openers(identities: Secret) -> list[pyrage.x25519.Identity]:
    """Return what pyrage opens with, out of an age identity file: one ``AGE-SECRET-KEY-1…`` a line.

    Raises:
        ValueError, pyrage.IdentityError: a line is none.
    """
    lines = identities.reveal().decode("ascii").split()
    return [pyrage.x25519.Identity.from_str(line) for line in lines]


def split(secret: Secret, *, needed: int, sheets: int) -> list[str]:
    """Return the words of each sheet, parted by spaces; any ``needed`` of them give the secret back.

    Args:
        secret: of SECRET_BYTES.
        needed: 1 (then ``sheets`` is 1) or 2 up to ``sheets``.
        sheets: 1 to 16.
    """
    (group,) = generate_mnemonics(1, [(needed, sheets)], secret.reveal())
    return list(group)


def kit_number(sheet: str) -> str:
    """Return the five digits that the sheets of one kit share, printed on each."""
    return f"{Share.from_mnemonic(sheet).identifier:05d}"


def join(sheets: Sequence[str]) -> Secret:
    """Return the secret out of the words typed from sheets, in any order, in any case.

    Raises:
        WordUnknown: a word is not in the list: which one, and what is near.
        WordsWrong: the words of a sheet do not fit together: which one, where it can be told.
        SheetTwice: the same sheet twice.
        SheetOfAnotherKit: sheets of two kits.
        SheetMissing: more are needed.
    """
    shares: list[Share] = []
    for number, text in enumerate(sheets, start=1):
        words = clean(text).split()
        _check_words(number, words)
        share = Share.from_mnemonic(" ".join(words))
        if shares and share.identifier != shares[0].identifier:
            raise SheetOfAnotherKit(number)
        if share.index in {each.index for each in shares}:
            raise SheetTwice(number)
        shares.append(share)
    needed = shares[0].member_threshold if shares else 1
    if len(shares) < needed:
        raise SheetMissing(len(shares), needed)
    try:
        return Secret(combine_mnemonics([each.mnemonic() for each in shares[:needed]]))
    except MnemonicError as error:
        # Every sheet is right by itself: only sheets of two splittings can still disagree.
        raise SheetOfAnotherKit(len(shares)) from error


@dataclass(frozen=True, slots=True)
class TypedWord:
    """One word as a person typed it."""

    position: int  # 1 …
    word: str = field(repr=False)
    is_known: bool
    near: tuple[str, ...] = field(default=(), repr=False)  # what it may have been meant to be


@dataclass(frozen=True, slots=True)
class TypedSheet:
    """The words of one sheet as a person typed them."""

    words: tuple[TypedWord, ...]
    missing: int  # words that are not there yet; negative: too many
    fits: bool  # every word is right, as the checksum says
    #: 1 … when one single other word would make the sheet right; 0 when it cannot be told.
    wrong_position: int
    number: str | None = None  # of the kit, when it fits


def clean(typed: str) -> str:
    """Return the words out of what a person typed or scanned: numbers, dots and capitals do not count.

    Four letters are enough: no two words of the list begin with the same four.
    """
    letters = "".join(each if each.isalpha() else " " for each in typed.lower())
    return " ".join(_spelled(word) for word in letters.split())


def _spelled(word: str) -> str:
    found = [each for each in WORDLIST if each.startswith(word)] if len(word) >= 4 else []
    return found[0] if len(found) == 1 else word


def look(typed: str) -> TypedSheet:
    """Return what is right and what is not about the words of one sheet, word by word."""
    given = clean(typed).split()
    found = tuple(
        TypedWord(position, word, True)
        if word in WORD_INDEX_MAP
        else TypedWord(position, word, False, near(word))
        for position, word in enumerate(given, start=1)
    )
    missing = WORDS_PER_SHEET - len(given)
    if missing or not all(each.is_known for each in found):
        return TypedSheet(found, missing, fits=False, wrong_position=0)
    if not _fits(given):
        return TypedSheet(found, 0, fits=False, wrong_position=_wrong_position(given))
    return TypedSheet(found, 0, fits=True, wrong_position=0, number=kit_number(" ".join(given)))


def near(word: str) -> tuple[str, ...]:
    """Return the words of the list that were perhaps meant, the likeliest first, three at most.

    No two words of the list begin with the same four letters.
    """
    begins = [each for each in WORDLIST if len(word) >= 4 and each[:4] == word[:4]]
    slips = [each for each in WORDLIST if each not in begins and _is_one_slip(word, each)]
    close = difflib.get_close_matches(word, WORDLIST, n=3, cutoff=0.6)
    return tuple(dict.fromkeys([*begins, *slips, *close]))[:3]


def _is_one_slip(typed: str, meant: str) -> bool:
    """Say whether one letter is missing, too much, another one, or changed places with its neighbour."""
    start = 0
    while start < min(len(typed), len(meant)) and typed[start] == meant[start]:
        start += 1
    left, right = typed[start:], meant[start:]
    return (
        left[1:] == right
        or left == right[1:]
        or left[1:] == right[1:]
        or (len(left) > 1 and left[1::-1] == right[:2] and left[2:] == right[2:])
    )


def _check_words(number: int, words: list[str]) -> None:
    for position, word in enumerate(words, start=1):
        if word not in WORD_INDEX_MAP:
            raise WordUnknown(number, position, ", ".join(near(word)) or "–")
    if len(words) != WORDS_PER_SHEET:
        raise WordsWrong(number, 0)
    if not _fits(words):
        raise WordsWrong(number, _wrong_position(words))


def _fits(words: Sequence[str]) -> bool:
    try:
        Share.from_mnemonic(" ".join(words))
    except MnemonicError:
        return False
    return True


def _wrong_position(words: list[str]) -> int:
    """Return the only place where one other word makes the sheet right, 0 when there is none.

    The checksum tells any three wrong words from right ones, so a single wrong word has one place.
    """
    for position, was in enumerate(words):
        for word in WORDLIST:
            if word != was and _fits([*words[:position], word, *words[position + 1 :]]):
                return position + 1
    return 0


def _bech32(prefix: str, data: bytes) -> str:
    """Return ``data`` in Bech32 (BIP-0173), without its limit of 90 characters, as age writes keys."""
    bits, length, values = 0, 0, []
    for byte in data:
        bits, length = (bits << 8) | byte, length + 8
        while length >= 5:
            length -= 5
            values.append((bits >> length) & 31)
    if length:
        values.append((bits << (5 - length)) & 31)
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = _polymod([*expanded, *values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [(check >> 5 * (5 - place)) & 31 for place in range(6)]
    return f"{prefix}1" + "".join(_BECH32[value] for value in values)


def _polymod(values: Sequence[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(
            (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
        ):
            check ^= generator if (top >> place) & 1 else 0
    return check
