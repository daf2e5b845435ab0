"""The tables about people beyond sign-in: second factors, locums, emergency access, tokens, devices."""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)

from appliance.db.schema import Key, Moment, metadata


def _id() -> Column[int]:
    return Column("id", Key, primary_key=True, autoincrement=True)


second_factor: Final = Table(
    "second_factor",
    metadata,
    _id(),
    Column("person_id", Key, ForeignKey("person.id"), nullable=False),
    Column("kind", String(10), nullable=False),  # totp · passkey · recovery
    Column("label", String(200), nullable=False),
    Column("secret", LargeBinary),  # totp: sealed to the web's own key
    Column("credential_id", LargeBinary, unique=True),  # passkey
    Column("public_key", LargeBinary),  # passkey, COSE
    Column(
        "counter", BigInteger, nullable=False, server_default="0"
    ),  # passkey's, or last TOTP step
    Column("code_hash", String(64)),  # recovery: SHA-256 of 80 random bits
    Column("created_at", Moment, nullable=False),
    Column("confirmed_at", Moment),
    Column("used_at", Moment),
    Column("removed_at", Moment),
    Index("ix_second_factor_person", "person_id", "kind"),
    sqlite_autoincrement=True,
)

locum: Final = Table(
    "locum",
    metadata,
    _id(),
    Column("person_id", Key, ForeignKey("person.id"), nullable=False),
    Column("replaces_id", Key, ForeignKey("person.id"), nullable=False),
    Column("sponsor_id", Key, ForeignKey("person.id"), nullable=False),
    Column("rpps", String(11), nullable=False, server_default=""),
    Column("starts_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False),
    Column(
        "rights", JSON, nullable=False
    ),  # share id → list of rights: a part of whom they replace
    Column("may_copy_cases", Boolean, nullable=False, server_default="0"),
    Column("closed_at", Moment),  # everything of theirs was closed
    Column("report_at", Moment),
    Index("ix_locum_person", "person_id"),
    sqlite_autoincrement=True,
)

emergency_access: Final = Table(
    "emergency_access",
    metadata,
    _id(),
    Column("person_id", Key, ForeignKey("person.id"), nullable=False),
    Column(
        "beneficiary", String(200), nullable=False, server_default=""
    ),  # a technician helped, if any
    Column("share_id", Key, ForeignKey("share.id"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("began_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("reviewed_at", Moment),
    Column("reviewed_by", Key, ForeignKey("person.id")),
    Column("review", Text),
    Index("ix_emergency_access_person", "person_id"),
    sqlite_autoincrement=True,
)

sealed_envelope: Final = Table(
    "sealed_envelope",
    metadata,
    _id(),
    Column("person_id", Key, ForeignKey("person.id"), nullable=False),  # an account of its own
    Column("place", String(200), nullable=False),  # where it is kept
    Column("sealed_at", Moment, nullable=False),
    Column("sealed_by", Key, ForeignKey("person.id")),  # None: at the console of the box
    Column("opened_at", Moment),  # its code was used: it is good for nothing more
    Column("opened_from", String(64)),  # network address
    Column("ended_at", Moment),  # another took its place, or it was withdrawn
    Index("ix_sealed_envelope_person", "person_id", unique=True),
    sqlite_autoincrement=True,
)

app_password: Final = Table(
    "app_password",
    metadata,
    _id(),
    Column("person_id", Key, ForeignKey("person.id"), nullable=False),
    Column("kind", String(8), nullable=False),  # dav · api · metrics
    Column("label", String(200), nullable=False),
    Column("secret_hash", String(64), nullable=False, unique=True),  # SHA-256 of 128 random bits
    Column("scope", JSON, nullable=False),  # list of words; see accounts
    Column("created_at", Moment, nullable=False),
    Column("ends_at", Moment),
    Column("used_at", Moment),
    Column("revoked_at", Moment),
    Index("ix_app_password_person", "person_id"),
    sqlite_autoincrement=True,
)

known_device: Final = Table(
    "known_device",
    metadata,
    _id(),
    Column("person_id", Key, ForeignKey("person.id"), nullable=False),
    Column("mark_hash", String(64), nullable=False),  # SHA-256 of the mark its cookie carries
    Column("user_agent", String(300), nullable=False),
    Column("first_seen_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Index("uq_known_device", "person_id", "mark_hash", unique=True),
    sqlite_autoincrement=True,
)

tunnel_device: Final = Table(
    "tunnel_device",
    metadata,
    _id(),
    Column("person_id", Key, ForeignKey("person.id"), nullable=False),
    Column("label", String(200), nullable=False),
    Column("public_key", String(44), nullable=False),
    Column("address", String(45), nullable=False, unique=True),  # in the tunnel's network
    Column("created_at", Moment, nullable=False),
    Column("starts_at", Moment),
    Column("ends_at", Moment),
    Column("seen_at", Moment),  # last handshake
    Column("revoked_at", Moment),
    Index("ix_tunnel_device_person", "person_id"),
    sqlite_autoincrement=True,
)

outside_identity: Final = Table(
    "outside_identity",
    metadata,
    _id(),
    Column("person_id", Key, ForeignKey("person.id"), nullable=False),
    Column("issuer", String(300), nullable=False),
    Column("subject", String(200), nullable=False),
    Column(
        "expected", String(200), nullable=False, server_default=""
    ),  # RPPS a first sign-in must show
    Column("created_at", Moment, nullable=False),
    Column("used_at", Moment),
    Column("removed_at", Moment),
    Index("ix_outside_identity_subject", "issuer", "subject"),
    sqlite_autoincrement=True,
)

notice: Final = Table(
    "notice",
    metadata,
    _id(),
    Column("person_id", Key, ForeignKey("person.id")),  # None: to those who run the box
    Column("code", String(64), nullable=False),
    Column("text", Text, nullable=False),  # English template, translatable; no patient's datum
    Column("facts", JSON, nullable=False, server_default="{}"),
    Column("at", Moment, nullable=False),
    Column("seen_at", Moment),
    Column("spread_at", Moment),  # it was settled by which ways it leaves the box, if any
    Column("sent_at", Moment),  # by e-mail or another way
    Index("ix_notice_person", "person_id", "seen_at"),
    Index("ix_notice_spread", "spread_at", "at"),
    sqlite_autoincrement=True,
)

notice_way: Final = Table(
    "notice_way",
    metadata,
    _id(),
    Column("person_id", Key, ForeignKey("person.id")),  # None: the practice's
    Column("kind", String(10), nullable=False),  # email · service (sealed: «notice-way:<id>»)
    Column("label", String(254), nullable=False),  # an e-mail's address, a service's name
    Column("topics", JSON, nullable=False),  # sorted list of policy.notices.Topic
    Column("created_at", Moment, nullable=False),
    Column("created_by", Key, ForeignKey("person.id")),
    Column("worked_at", Moment),  # the last message left
    Column("failed_at", Moment),  # since when none leaves; None: the last one left
    Column("problem", String(40)),  # why; see policy.notices.PROBLEMS
    Column("removed_at", Moment),
    Index("ix_notice_way_person", "person_id", "removed_at"),
    sqlite_autoincrement=True,
)

notice_delivery: Final = Table(
    "notice_delivery",
    metadata,
    _id(),
    Column("notice_id", Key, ForeignKey("notice.id"), nullable=False),
    Column("way_id", Key, ForeignKey("notice_way.id"), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", Moment),  # None: it left, or was given up
    Column("sent_at", Moment),
    Column("given_up_at", Moment),
    Column("problem", String(40)),
    Index("uq_notice_delivery", "notice_id", "way_id", unique=True),
    Index("ix_notice_delivery_next", "next_at"),
    sqlite_autoincrement=True,
)
