"""The page that helps a device to trust the box's own authority; anybody on the network may open it.

It holds no secret: the certificate of an authority that may sign for private addresses and local names only. Its
fingerprint is compared with the one the box prints, so that nobody in the middle gives another.
"""

import plistlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import APIRouter, Request
from starlette.responses import Response

from appliance.errors import NotFound
from appliance.jobs import certificates
from appliance.settings import Settings
from appliance.web.deps import TheBox, aside
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)

#: So that installing it twice replaces it (a UUID made from our own name).
_PROFILE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "authority.armoire.home.arpa")


@dataclass(frozen=True, slots=True)
class TrustPage(Page):
    """How to trust the box, system by system."""

    template: ClassVar[str] = "trust.html"
    is_own: bool  # the box's own authority; else the practice brought a certificate
    fingerprint: str
    until: datetime | None
    host: str


def authority(settings: Settings) -> x509.Certificate | None:
    """Return the box's own authority, or None when the practice brought its own certificate."""
    if (settings.tls / "own.crt").exists():
        return None
    try:
        return x509.load_pem_x509_certificate((settings.tls / "ca.crt").read_bytes())
    except (OSError, ValueError):
        return None


def fingerprint(certificate: x509.Certificate) -> str:
    """Return a certificate's SHA-256 in pairs of hex digits: what every system shows."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


@router.get("/trust", name="trust")
async def show_trust(request: Request, box: TheBox) -> Response:
    """Say how to trust the box on this device."""
    host = (request.url.hostname or "").lower()
    with box.database.read() as connection:
        served = certificates.served(connection)
    alike = {host, "*." + host.partition(".")[2]}
    is_known = served is not None and not alike.isdisjoint(served.names)
    found = None if is_known else await aside(authority, box.settings)
    return render(
        request,
        TrustPage(
            found is not None,
            fingerprint(found) if found is not None else "",
            found.not_valid_after_utc if found is not None else None,
            host,
        ),
    )


@router.get("/trust/armoire.crt", name="trust-crt")
async def send_certificate(box: TheBox) -> Response:
    """Send the authority's certificate, as Windows, Android and Firefox take it.

    Raises:
        NotFound: the practice brought its own certificate.
    """
    found = await _authority(box.settings)
    return Response(
        found.public_bytes(Encoding.DER),
        media_type="application/x-x509-ca-cert",
        headers={"content-disposition": 'attachment; filename="armoire.crt"'},
    )


@router.get("/trust/armoire.mobileconfig", name="trust-profile")
async def send_profile(box: TheBox) -> Response:
    """Send the authority as a profile for iPhone, iPad and Mac.

    Raises:
        NotFound: the practice brought its own certificate.
    """
    found = await _authority(box.settings)
    profile = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": "armoire.authority",
        "PayloadUUID": str(_PROFILE).upper(),
        "PayloadDisplayName": "Armoire",
        "PayloadContent": [
            {
                "PayloadType": "com.apple.security.root",
                "PayloadVersion": 1,
                "PayloadIdentifier": "armoire.authority.certificate",
                "PayloadUUID": str(uuid.uuid5(_PROFILE, "certificate")).upper(),
                "PayloadDisplayName": "Armoire",
                "PayloadContent": found.public_bytes(Encoding.DER),
            }
        ],
    }
    return Response(
        plistlib.dumps(profile),
        media_type="application/x-apple-aspen-config",
        headers={"content-disposition": 'attachment; filename="armoire.mobileconfig"'},
    )


async def _authority(settings: Settings) -> x509.Certificate:
    found = await aside(authority, settings)
    if found is None:
        raise NotFound("certificate", "armoire.crt")
    return found
