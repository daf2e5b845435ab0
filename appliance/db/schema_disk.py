"""The tables of the network disk: shares, rights on them, the bin, uploads, links for correspondents.

Paths are bytes, relative to their share, parts joined by «/», as the disk holds them.
"""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
)

from appliance.db.schema import Key, Moment, metadata


def _id() -> Column[int]:
    return Column("id", Key, primary_key=True, autoincrement=True)


share: Final = Table(
    "share",
    metadata,
    _id(),
    Column("name", String(64), nullable=False),  # slug; also the name over SMB and WebDAV
    Column("label", String(200), nullable=False),
    Column("folder", Text, nullable=False),  # absolute
    Column("source_id", Key, ForeignKey("source.id")),  # its nights; None: not backed up
    Column("over_smb", Boolean, nullable=False, server_default="0"),
    Column("over_dav", Boolean, nullable=False, server_default="0"),
    Column("is_time_machine", Boolean, nullable=False, server_default="0"),
    Column("bin_days", Integer, nullable=False, server_default="30"),
    Column("quota_bytes", BigInteger),
    Column(
        "used_bytes", BigInteger, nullable=False, server_default="0"
    ),  # measured nightly, added to since
    Column("created_at", Moment, nullable=False),
    Column("removed_at", Moment),
    Index(
        "uq_share_name_living",
        "name",
        unique=True,
        sqlite_where=text("removed_at IS NULL"),
        postgresql_where=text("removed_at IS NULL"),
    ),
    sqlite_autoincrement=True,
)

share_grant: Final = Table(
    "share_grant",
    metadata,
    _id(),
    Column("share_id", Key, ForeignKey("share.id"), nullable=False),
    Column("person_id", Key, ForeignKey("person.id")),  # one of the two
    Column("role", String(32)),
    Column("rights", JSON, nullable=False),  # sorted list of policy.share_rights.Right
    Column("granted_by", Key, ForeignKey("person.id")),
    Column("granted_at", Moment, nullable=False),
    CheckConstraint("(person_id IS NULL) <> (role IS NULL)", name="whom"),
    Index("uq_share_grant_person", "share_id", "person_id", unique=True),
    Index("uq_share_grant_role", "share_id", "role", unique=True),
    sqlite_autoincrement=True,
)

bin_item: Final = Table(
    "bin_item",
    metadata,
    _id(),
    Column("share_id", Key, ForeignKey("share.id"), nullable=False),
    Column("path", LargeBinary, nullable=False),  # where it was
    Column("stored", String(80), nullable=False),  # its name in the bin's folder
    Column("kind", String(8), nullable=False),  # file · folder
    Column("size", BigInteger, nullable=False),
    Column("files", Integer, nullable=False),
    Column("deleted_at", Moment, nullable=False),
    Column("person_id", Key, ForeignKey("person.id")),
    Column("door", String(8), nullable=False),  # web · dav · smb
    Column("gone_at", Moment),  # put back, or removed for good
    Index("ix_bin_item_share", "share_id", "gone_at", "deleted_at"),
    Index("uq_bin_item_stored", "share_id", "stored", unique=True),
    sqlite_autoincrement=True,
)

upload: Final = Table(
    "upload",
    metadata,
    Column("token_hash", String(64), primary_key=True),  # of the address tus gives it
    Column("person_id", Key, ForeignKey("person.id")),
    Column("link_id", Key, ForeignKey("link.id")),  # a correspondent's
    Column("share_id", Key, ForeignKey("share.id"), nullable=False),
    Column("path", LargeBinary, nullable=False),  # where it will be
    Column("part", String(80), nullable=False),  # its name in the parts' folder
    Column("size", BigInteger, nullable=False),
    Column("replaces", Boolean, nullable=False, server_default="0"),
    Column("mtime_ns", BigInteger),
    Column("wanted_hash", String(80)),  # «blake3:…» or «sha256:…», checked at the end
    Column("created_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Index("ix_upload_seen", "seen_at"),
)

link: Final = Table(
    "link",
    metadata,
    _id(),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("kind", String(8), nullable=False),  # give · ask
    Column("share_id", Key, ForeignKey("share.id"), nullable=False),
    Column("path", LargeBinary, nullable=False),
    Column("person_id", Key, ForeignKey("person.id"), nullable=False),
    Column("label", String(200), nullable=False),  # for whom
    Column("password_hash", Text),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("locked_until", Moment),
    Column("created_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False),
    Column("most_uses", Integer),  # downloads, or files received; None: not limited
    Column("uses", Integer, nullable=False, server_default="0"),
    Column("rules", JSON, nullable=False, server_default="{}"),  # of an «ask»: types, bytes a file
    Column("revoked_at", Moment),
    Index("ix_link_person", "person_id"),
    sqlite_autoincrement=True,
)

received_file: Final = Table(
    "received_file",
    metadata,
    _id(),
    Column("link_id", Key, ForeignKey("link.id"), nullable=False),
    Column("name", LargeBinary, nullable=False),
    Column("stored", String(80), nullable=False),  # in the quarantine's folder
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("decided_at", Moment),
    Column("decided_by", Key, ForeignKey("person.id")),
    Column("was_accepted", Boolean),  # None though decided_at is set: the file was lost
    Column("reminded_at", Moment),  # that it goes soon
    Index("ix_received_file_link", "link_id", "decided_at"),
    sqlite_autoincrement=True,
)
