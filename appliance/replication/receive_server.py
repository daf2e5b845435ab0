"""The SSH side of a receiving box: SFTP version 3 for known keys, and nothing else.

No shell, no program, no forwarding, no password. What a client may do in its folder is ``receive_store``'s
business; here an ``OSError`` becomes an answer, and everything a client could make large is bounded.
Source: draft-ietf-secsh-filexfer-02; OpenSSH PROTOCOL (fsync@openssh.com, statvfs@openssh.com).
"""

import errno
import logging
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_FAILED_RESOURCE_SHORTAGE,
    OPEN_SUCCEEDED,
)
from paramiko.message import Message
from paramiko.sftp import (
    CMD_EXTENDED,
    CMD_EXTENDED_REPLY,
    CMD_FSETSTAT,
    CMD_INIT,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_VERSION,
    SFTP_BAD_MESSAGE,
    SFTP_OP_UNSUPPORTED,
    SFTP_PERMISSION_DENIED,
    SFTPError,
)

from appliance.replication.receive_accounts import Sender
from appliance.replication.receive_calls import (
    Files,
    Handle,
    Limits,
    Listing,
    Refusal,
    answer_for,
)
from appliance.replication.receive_store import SenderStore

log = logging.getLogger(__name__)

_VERSION: Final = 3


@dataclass(frozen=True)
class Desk:
    """What a session asks of the server it belongs to."""

    find: Callable[[str], Sender | None]
    store: Callable[[Sender], SenderStore]
    #: Take a place for one more session of this sender; False: it has enough.
    admit: Callable[[str], bool]
    limits: Limits


class Door(paramiko.ServerInterface):
    """Who may come in, and for what."""

    def __init__(self, desk: Desk, transport: paramiko.Transport) -> None:
        self._desk = desk
        self._transport = transport
        self._attempts = 0
        self._channels = 0
        self.sender: Sender | None = None
        self.speaks = threading.Event()

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        """Keys only."""
        return "publickey"

    def check_auth_none(self, username: str) -> int:  # noqa: ARG002
        """Never; and it is no attempt: OpenSSH asks first of all what is allowed."""
        return AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:  # noqa: ARG002
        """Never."""
        return self._failed()

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        """Say whether this key is this sender's; paramiko checks the signature afterwards.

        Because of that order nothing is remembered here but the count: who is in is read from the
        connection's user name once it is authenticated, and a user name cannot change on the way.
        """
        sender = self._desk.find(username)
        given = f"{key.get_name()} {key.get_base64()}"
        if sender is None or given != sender.public_key:
            return self._failed()
        return AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        """One session per connection."""
        if kind != "session" or not self._transport.is_authenticated():
            return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        if self._channels:
            return OPEN_FAILED_RESOURCE_SHORTAGE
        self._channels += 1
        return OPEN_SUCCEEDED

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        """SFTP, once, for a sender that has not too many sessions yet."""
        sender = self._desk.find(self._transport.get_username() or "")
        if name != "sftp" or sender is None or self.sender is not None:
            return False
        if not self._desk.admit(sender.id):
            return False
        self.sender = sender
        self.speaks.set()
        handler = SftpSession(
            channel, name, self, self._desk.store(sender), self._transport, self._desk
        )
        handler.start()
        return True

    def _failed(self) -> int:
        self._attempts += 1
        if self._attempts >= self._desk.limits.sign_in_attempts:
            self._transport.close()
        return AUTH_FAILED


class SftpSession(paramiko.SFTPServer):
    """One client's requests, one after another."""

    def __init__(
        self,
        channel: paramiko.Channel,
        name: str,
        door: Door,
        store: SenderStore,
        transport: paramiko.Transport,
        desk: Desk,
    ) -> None:
        super().__init__(channel, name, door, Files, store, transport, desk.limits)
        self.daemon = True
        self._store = store
        self._desk = desk

    def start_subsystem(
        self, name: str, transport: paramiko.Transport, channel: paramiko.Channel
    ) -> None:
        """Answer until the client goes, or is silent for too long."""
        channel.settimeout(self._desk.limits.idle_s)
        super().start_subsystem(name, transport, channel)

    def finish_subsystem(self) -> None:
        """Close what was left open, and the connection: it was for this only."""
        try:
            super().finish_subsystem()
        finally:
            if self.sock is not None:
                self.sock.get_transport().close()

    def _read_packet(self) -> tuple[int, bytes]:
        inner = cast("Any", self)
        size = struct.unpack(">I", inner._read_all(4))[0]  # noqa: SLF001 - paramiko's own hooks
        if not 1 <= size <= self._desk.limits.packet_bytes:
            raise SFTPError("a packet of a size nobody needs")
        data = inner._read_all(size)  # noqa: SLF001
        return data[0], data[1:]

    def _send_server_version(self) -> int:
        kind, data = self._read_packet()
        if kind != CMD_INIT or len(data) < 4:
            raise SFTPError("not SFTP")
        answer = Message()
        answer.add_int(_VERSION)
        for name, version in (("fsync@openssh.com", "1"), ("statvfs@openssh.com", "2")):
            answer.add_string(name)
            answer.add_string(version)
        cast("Any", self)._send_packet(CMD_VERSION, answer)  # noqa: SLF001
        return int(struct.unpack(">I", data[:4])[0])

    def _send_status(self, request_number: int, code: int, desc: str | None = None) -> None:
        words = code.words if isinstance(code, Refusal) else desc
        cast("Any", super())._send_status(request_number, int(code), words)  # noqa: SLF001

    def _process(self, kind: int, request_number: int, message: Message) -> None:
        if kind == CMD_EXTENDED:
            self._extended(request_number, message)
        elif kind == CMD_FSETSTAT:
            self._send_status(request_number, SFTP_PERMISSION_DENIED)
        elif (
            kind in {CMD_OPEN, CMD_OPENDIR}
            and len(self.file_table) + len(self.folder_table) >= self._desk.limits.open_files
        ):
            self._send_status(request_number, answer_for(OSError(errno.EMFILE, "")))
        else:
            cast("Any", super())._process(kind, request_number, message)  # noqa: SLF001

    def _open_folder(self, request_number: int, path: str) -> None:
        try:
            listing = Listing(self._store.list_folder(path))
        except OSError as error:
            self._send_status(request_number, answer_for(error))
            return
        cast("Any", self)._send_handle_response(request_number, listing, True)  # noqa: SLF001

    def _extended(self, request_number: int, message: Message) -> None:
        match message.get_text():
            case "fsync@openssh.com":
                handle = self.file_table.get(message.get_binary())
                if not isinstance(handle, Handle):
                    self._send_status(request_number, SFTP_BAD_MESSAGE, "Invalid handle")
                    return
                self._send_status(request_number, handle.sync())
            case "statvfs@openssh.com":
                blocks = self._store.free_bytes() // 4096
                used = self._store.used_bytes // 4096
                answer = Message()
                answer.add_int(request_number)
                for value in (4096, 4096, used + blocks, blocks, blocks, 0, 0, 0, 0, 0, 255):
                    answer.add_int64(value)
                cast("Any", self)._send_packet(CMD_EXTENDED_REPLY, answer)  # noqa: SLF001
            case _:
                # posix-rename and hardlink would do what we never do; check-file of paramiko can be
                # made to run for ever.
                self._send_status(request_number, SFTP_OP_UNSUPPORTED)
