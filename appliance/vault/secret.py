"""A secret that cannot be printed by accident."""

from typing import Final

MASK: Final = "••••"


class Secret:
    """Holds bytes that ``str``, ``repr``, ``format`` and pickling never show."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Return the bytes: call it where they are used, never to keep them."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        from hmac import compare_digest  # noqa: PLC0415 - only here

        return compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)
