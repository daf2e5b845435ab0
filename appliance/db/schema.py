"""The tables of the state database, for SQLite and PostgreSQL alike.

What must never happen is refused here: one running job per lock, one waiting job per wish,
one snapshot per archive, one proof per ledger entry.
"""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """An aware UTC time, stored as sortable text ``2026-11-23T14:48:31.000000Z``."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Refuse naive times: they are mistakes."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time")
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ANN401, ARG002
        """Return an aware UTC time."""
        return None if value is None else datetime.fromisoformat(value)


#: Autoincrementing 64-bit keys on both databases; never reused on SQLite.
Key = BigInteger().with_variant(Integer, "sqlite")


def _id() -> Column[int]:
    return Column("id", Key, primary_key=True, autoincrement=True)


person: Final = Table(
    "person",
    metadata,
    _id(),
    Column("login", String(64), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("role", String(32), nullable=False),
    Column("language", String(2), nullable=False, server_default="fr"),
    Column("password_hash", Text),  # argon2id; None until the first sign-in
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("locked_until", Moment),
    Column("created_at", Moment, nullable=False),
    Column("disabled_at", Moment),
    Column("email", String(254), nullable=False, server_default=""),  # for notices only
    Column("rpps", String(11), nullable=False, server_default=""),
    Column("needs_second_factor", Boolean, nullable=False, server_default="0"),  # wherever they are
    sqlite_autoincrement=True,
)

session: Final = Table(
    "session",
    metadata,
    _id(),
    Column("token_hash", String(64), nullable=False, unique=True),  # SHA-256, hex
    Column("person_id", Key, ForeignKey("person.id"), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False),
    Column("address", String(64), nullable=False),
    Column("user_agent", String(300), nullable=False),
    Column("revoked_at", Moment),
    Column("factors", String(40), nullable=False, server_default="password"),  # «password+totp»
    Column(
        "is_half", Boolean, nullable=False, server_default="0"
    ),  # the second factor is still due
    Column("proven_at", Moment),  # when the person last showed who they are, for what matters most
    Index("ix_session_person", "person_id"),
)

sign_in_link: Final = Table(
    "sign_in_link",
    metadata,
    _id(),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("person_id", Key, ForeignKey("person.id")),  # None: makes the first account
    Column("created_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False),
    Column("used_at", Moment),
    Column("made_by", Key),  # a person; None: at the console of the box
)

secret: Final = Table(
    "secret",
    metadata,
    Column("name", String(120), primary_key=True),  # «repository:3:passphrase»
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False),
)

source: Final = Table(
    "source",
    metadata,
    _id(),
    Column("name", String(64), nullable=False),
    Column("label", String(200), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("system", String(16), nullable=False),
    Column("host", String(255)),
    Column("port", Integer, nullable=False, server_default="22"),
    Column("user", String(120)),
    Column("host_key", Text),
    Column("mac", String(17)),
    Column("roots", JSON, nullable=False),
    Column("excludes", JSON, nullable=False),
    Column("recipes", JSON, nullable=False),
    Column("plan", JSON, nullable=False),
    Column("quota_bytes", BigInteger),
    Column("created_at", Moment, nullable=False),
    Column("removed_at", Moment),
    Column("last_seen_at", Moment),
    Column("frozen_reason", String(120)),
    Column("frozen_at", Moment),
    Column("facts", JSON, nullable=False, server_default="{}"),  # what the last check saw
    Index(
        "uq_source_name_living",
        "name",
        unique=True,
        sqlite_where=text("removed_at IS NULL"),
        postgresql_where=text("removed_at IS NULL"),
    ),
    sqlite_autoincrement=True,
)

repository: Final = Table(
    "repository",
    metadata,
    Column("source_id", Key, ForeignKey("source.id"), primary_key=True),
    Column("path", Text, nullable=False),
    Column("borg_id", String(64), nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Column("checked_at", Moment),
    Column("all_read_since", Moment),
)

job: Final = Table(
    "job",
    metadata,
    _id(),
    Column("kind", String(40), nullable=False),
    Column("spec", JSON, nullable=False),
    Column("wish", String(200), nullable=False),  # the same wish waits only once
    Column("lock", String(80), nullable=False),
    Column("state", String(16), nullable=False),
    Column("queued_at", Moment, nullable=False),
    Column("not_before", Moment, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("source_id", Key, ForeignKey("source.id")),
    Column("person_id", Key, ForeignKey("person.id")),
    Column("parent_id", Key, ForeignKey("job.id")),
    Column("runner", String(80)),
    Column("started_at", Moment),
    Column("beat_at", Moment),
    Column("finished_at", Moment),
    Column("cancel_asked_at", Moment),
    Column("progress", JSON, nullable=False),
    Column("error_code", String(80)),
    Column("error_facts", JSON, nullable=False),
    Column("result", JSON, nullable=False),
    CheckConstraint(
        "state IN ('queued','running','succeeded','warned','failed','cancelled','interrupted')",
        name="state_known",
    ),
    CheckConstraint(
        "(state = 'queued') = (started_at IS NULL) OR state = 'cancelled'",
        name="started_when_claimed",
    ),
    Index(
        "uq_job_one_running_per_lock",
        "lock",
        unique=True,
        sqlite_where=text("state = 'running' AND lock <> ''"),
        postgresql_where=text("state = 'running' AND lock <> ''"),
    ),
    Index(
        "uq_job_one_waiting_per_wish",
        "wish",
        unique=True,
        sqlite_where=text("state = 'queued'"),
        postgresql_where=text("state = 'queued'"),
    ),
    # The planner and the home page ask for the newest job of a source and kind.
    Index("ix_job_source_kind", "source_id", "kind", "id"),
    Index("ix_job_state", "state", "not_before"),
    Index("ix_job_lock", "lock", "kind", "id"),  # the jobs of a target
    sqlite_autoincrement=True,
)

job_note: Final = Table(
    "job_note",
    metadata,
    _id(),
    Column("job_id", Key, ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
    Column("at", Moment, nullable=False),
    Column("level", String(8), nullable=False),  # info · warning · error
    Column("text", Text, nullable=False),  # English template (translatable), never a file name
    Column("facts", JSON, nullable=False),
    Index("ix_job_note_job", "job_id", "id"),
)

snapshot: Final = Table(
    "snapshot",
    metadata,
    _id(),
    Column("source_id", Key, ForeignKey("source.id"), nullable=False),
    Column("archive", String(120), nullable=False),
    Column("archive_id", String(64), nullable=False),
    Column("job_id", Key, ForeignKey("job.id", ondelete="SET NULL")),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment, nullable=False),
    Column("state", String(16), nullable=False),
    Column("consistency", String(16), nullable=False),
    Column("files_seen", BigInteger, nullable=False),
    Column("items", BigInteger, nullable=False),
    Column("original_bytes", BigInteger, nullable=False),
    Column("new_bytes", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("vanished", BigInteger, nullable=False),
    Column("warnings", BigInteger, nullable=False),
    Column("protected", Boolean, nullable=False, server_default=text("false")),
    Column("legal_hold", Boolean, nullable=False, server_default=text("false")),
    Column("removed_at", Moment),
    Column("stats", JSON, nullable=False),  # Borg's and ours, as they came
    Index("uq_snapshot_archive", "source_id", "archive_id", unique=True),
    Index("ix_snapshot_source", "source_id", "started_at"),
    sqlite_autoincrement=True,
)

read_event: Final = Table(
    "read_event",
    metadata,
    _id(),
    Column("snapshot_id", Key, ForeignKey("snapshot.id"), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("path", LargeBinary, nullable=False),
    Column("reason", String(200), nullable=False),
    Index("ix_read_event_snapshot", "snapshot_id", "kind"),
)

ledger: Final = Table(
    "ledger",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("event", String(60), nullable=False),
    Column("actor", String(80), nullable=False),
    Column("subject", String(80), nullable=False),
    Column("body", Text, nullable=False),  # canonical JSON: what the digest covers
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Index("ix_ledger_subject", "subject", "seq"),
    Index("ix_ledger_event", "event", "seq"),
)

proof: Final = Table(
    "proof",
    metadata,
    Column("seq", Key, ForeignKey("ledger.seq"), primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("source_id", Key, ForeignKey("source.id")),
    Column("snapshot_id", Key, ForeignKey("snapshot.id")),
    Column("figures", JSON, nullable=False),
    Column("target_id", Key, ForeignKey("target.id")),
    Index("ix_proof_source_kind", "source_id", "kind", "seq"),
    Index("ix_proof_target_kind", "target_id", "kind", "seq"),
)

anomaly: Final = Table(
    "anomaly",
    metadata,
    _id(),
    Column("source_id", Key, ForeignKey("source.id"), nullable=False),
    Column("snapshot_id", Key, ForeignKey("snapshot.id")),
    Column("opened_at", Moment, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("reading", JSON, nullable=False),
    Column("closed_at", Moment),
    Column("closed_by", Key, ForeignKey("person.id")),
    Column("closing_reason", Text),
    Index("ix_anomaly_source", "source_id", "closed_at"),
)

restore_sheet: Final = Table(
    "restore_sheet",
    metadata,
    _id(),
    Column("job_id", Key, ForeignKey("job.id", ondelete="SET NULL")),
    Column("source_id", Key, ForeignKey("source.id"), nullable=False),
    Column("snapshot_id", Key, ForeignKey("snapshot.id"), nullable=False),
    Column("operator", String(200), nullable=False),
    Column("requested_by", String(200), nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("paths", JSON, nullable=False),  # base64 of the paths asked for
    Column("snapshot_at", Moment, nullable=False),
    Column("restored_at", Moment, nullable=False),
    Column("destination", String(16), nullable=False),
    Column("check", String(16), nullable=False),
    Column("figures", JSON, nullable=False),
)

worker: Final = Table(
    "worker",
    metadata,
    Column("name", String(80), primary_key=True),  # «host:pid»
    Column("started_at", Moment, nullable=False),
    Column("beat_at", Moment, nullable=False),
)

fact: Final = Table(
    "fact",
    metadata,
    Column("name", String(80), primary_key=True),  # «box.id», «practice.name», «clock.last»
    Column("value", JSON, nullable=False),
    Column("at", Moment, nullable=False),
)


target: Final = Table(
    "target",
    metadata,
    _id(),
    Column("name", String(64), nullable=False),
    Column("label", String(200), nullable=False),
    Column("kind", String(16), nullable=False),  # directory · sftp · s3 · box
    Column("nature", String(32)),  # policy.hosting.Nature; None until an owner doctor declared it
    Column("place", JSON, nullable=False),  # how it is reached, no secret
    Column("dossier", JSON, nullable=False),  # policy.hosting.Dossier
    Column("bandwidth", JSON, nullable=False),  # timetable: when how many bytes a second
    Column("distance_km", Integer),
    Column("created_at", Moment, nullable=False),
    Column("removed_at", Moment),
    Column("facts", JSON, nullable=False, server_default="{}"),  # what was last asked of it
    Index(
        "uq_target_name_living",
        "name",
        unique=True,
        sqlite_where=text("removed_at IS NULL"),
        postgresql_where=text("removed_at IS NULL"),
    ),
    sqlite_autoincrement=True,
)

copy_object: Final = Table(
    "copy_object",
    metadata,
    _id(),
    Column("target_id", Key, ForeignKey("target.id"), nullable=False),
    Column("name", String(80), nullable=False),  # random, says nothing
    Column("repository", Key, nullable=False),  # source id; 0 for the box's own state
    Column("path", String(200), nullable=False),
    Column("plain_size", BigInteger, nullable=False),
    Column("plain_mtime_ns", BigInteger, nullable=False),
    Column("plain_sha256", String(64), nullable=False),
    Column("sealed_size", BigInteger, nullable=False),
    Column("sealed_sha256", String(64), nullable=False),
    Column("sealed_at", Moment, nullable=False),
    Column("put_at", Moment),  # None: sealed, not yet known to be whole at the target
    Column("read_back_at", Moment),  # every byte came back and was right
    Column("orphaned_at", Moment),
    Column("removed_at", Moment),
    Column(
        "locked_until", Moment
    ),  # an object lock, extended; None: since put_at, as the place says
    Index("uq_copy_object_name", "target_id", "name", unique=True),
    Index("ix_copy_object_file", "target_id", "repository", "path"),
    sqlite_autoincrement=True,
)

generation: Final = Table(
    "generation",
    metadata,
    _id(),
    Column("target_id", Key, ForeignKey("target.id"), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("taken_at", Moment, nullable=False),
    Column("published_at", Moment),  # None: about to be; its object may or may not be there
    Column("sha256", String(64), nullable=False),  # of the whole object
    Column("previous", String(64), nullable=False),
    Column("objects", LargeBinary, nullable=False),  # zlib of 8-byte little-endian copy_object ids
    Column("files", BigInteger, nullable=False),
    Column("plain_bytes", BigInteger, nullable=False),
    Column("new_bytes", BigInteger, nullable=False),  # sealed bytes sent for it
    Column("removed_at", Moment),
    Column("locked_until", Moment),  # as of an object
    Index("uq_generation_number", "target_id", "number", unique=True),
    sqlite_autoincrement=True,
)

forged: Final = Table(
    "forged",
    metadata,
    _id(),
    Column("target_id", Key, ForeignKey("target.id"), nullable=False),
    Column("name", String(200), nullable=False),  # of the object: under our identity, not ours
    Column("sha256", String(64), nullable=False),
    Column("found_at", Moment, nullable=False),
    Column("passed_over_at", Moment),  # None: pushing stops until a person looked at it
    Index("uq_forged_name", "target_id", "name", "sha256", unique=True),
    sqlite_autoincrement=True,
)
