"""Pebble: the ACME server of Let's Encrypt for tests, with its DNS server, on 127.0.0.1 alone."""

import json
import os
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.support.authority import make_pair
from tests.support.sshd import free_port


class Pebble:
    """``with Pebble(folder, http_port=…) as pebble``: an authority that asks names at 127.0.0.1."""

    def __init__(
        self,
        folder: Path,
        *,
        http_port: int,
        accounts: Mapping[str, str] | None = None,
        **environment: str,
    ) -> None:
        """With ``accounts`` (number → key, base64url) it serves only who is bound to one of them."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.http_port, self.accounts = folder, http_port, accounts
        self.environment = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0", **environment}
        self.port, self.management, self.dns, self.dns_management = (free_port() for _ in range(4))
        self.ca_bundle = folder / "ca.pem"
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self.port}/dir"

    @property
    def resolver(self) -> str:
        return f"127.0.0.1:{self.dns}"

    def __enter__(self) -> Self:
        certificate, key = make_pair("pebble", names=["localhost"])
        self.ca_bundle.write_bytes(certificate)
        (self.folder / "key.pem").write_bytes(key)
        config = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(self.ca_bundle),
            "privateKey": str(self.folder / "key.pem"),
            "httpPort": self.http_port,
            "tlsPort": free_port(),
            "externalAccountBindingRequired": bool(self.accounts),
            "externalAccountMACKeys": dict(self.accounts or {}),
        }
        (self.folder / "pebble.json").write_text(json.dumps({"pebble": config}))
        try:
            self._start(
                "pebble-challtestsrv", "-dns01", self.resolver, "-management", f"127.0.0.1:{self.dns_management}",
                "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "",
            )  # fmt: skip
            self._start(
                "pebble", "-config", str(self.folder / "pebble.json"), "-dnsserver", self.resolver
            )
            deadline = time.monotonic() + 60
            while True:
                try:
                    self.root_pem()
                    self.dns_says("clear-txt", host="nobody.")
                    return self
                except OSError:
                    assert time.monotonic() < deadline, (self.folder / "log").read_text()
                    time.sleep(0.05)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_why: object) -> None:
        for process in self._started:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._started = []

    def root_pem(self) -> bytes:
        """The authority's root: what browsers would know."""
        return self._get("roots/0")

    def trust(self) -> ssl.SSLContext:
        """What a browser that knows the authority trusts."""
        return ssl.create_default_context(cadata=self.root_pem().decode())

    def dns_says(self, verb: str, **values: object) -> None:
        """Change what its DNS server says: set-txt, clear-txt, add-a, set-servfail …"""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.dns_management}/{verb}", json.dumps(values).encode()
        )
        with urllib.request.urlopen(request, timeout=10):
            pass

    def _get(self, path: str) -> bytes:
        context = ssl.create_default_context(cafile=str(self.ca_bundle))
        address = f"https://127.0.0.1:{self.management}/{path}"
        with urllib.request.urlopen(address, timeout=10, context=context) as answer:
            return answer.read()

    def _start(self, *argv: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self._started.append(
                subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env={**os.environ, **self.environment}, cwd=self.folder,
                )
            )  # fmt: skip
