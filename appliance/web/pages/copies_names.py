"""What the kinds, natures and certificates are called, in plain words."""

from typing import Final

from appliance.language import mark
from appliance.policy.hosting import CertificateState, Nature
from appliance.web.pages.copy_map import Zone

#: What a person chooses from, in plain words, and what follows from it.
KIND_NAMES: Final[dict[str, str]] = {
    "directory": mark("A disk"),
    "box": mark("Another Armoire"),
    "sftp": mark("A host, by SFTP"),
    "s3": mark("A host, by S3 (object storage)"),
}
KIND_TEXTS: Final[dict[str, str]] = {
    "directory": mark(
        "A USB disk that is plugged in, filled and taken away again. The cheapest copy that no "
        "attacker can reach."
    ),
    "box": mark(
        "A second box of this kind in the practice's other building. It never lets this one delete "
        "what it sent."
    ),
    "sftp": mark(
        "An account at a certified health-data host. Usual, simple; the host's own snapshots protect "
        "against a thief with our key."
    ),
    "s3": mark(
        "A bucket at a certified health-data host. With Object Lock nobody can delete a copy before "
        "its time, not even you."
    ),
}
NATURE_NAMES: Final[dict[Nature, str]] = {
    Nature.SAME_PRACTICE_HERE: mark("Ours, in this building"),
    Nature.SAME_PRACTICE_ELSEWHERE: mark("Ours, in another building of the practice"),
    Nature.CERTIFIED_HOST: mark("A certified health-data host (HDS), by contract"),
    Nature.OTHER: mark("Somebody else"),
}
NATURE_TEXTS: Final[dict[Nature, str]] = {
    Nature.SAME_PRACTICE_HERE: mark(
        "A disk or a machine the practice owns and keeps where the box is."
    ),
    Nature.SAME_PRACTICE_ELSEWHERE: mark(
        "The second surgery, a locked cupboard in another building: the practice keeps it itself."
    ),
    Nature.CERTIFIED_HOST: mark(
        "A company with an HDS certificate that covers activity 6, outsourced backup. Its dossier "
        "comes next."
    ),
    Nature.OTHER: mark(
        "A friend, a colleague's practice, an IT company, an ordinary cloud. The law refuses it, "
        "encrypted or not (L.1111-8)."
    ),
}
STATE_NAMES: Final[dict[CertificateState, str]] = {
    CertificateState.INCOMPLETE: mark("dossier incomplete"),
    CertificateState.VALID: mark("certificate valid"),
    CertificateState.TO_RENEW: mark("certificate ends soon"),
    CertificateState.EXPIRED: mark("certificate expired"),
    CertificateState.SUSPENDED: mark("certificate suspended"),
}
ZONE_NAMES: Final[dict[Zone, str]] = {
    Zone.HERE: mark("The practice"),
    Zone.ELSEWHERE: mark("Another building of the practice"),
    Zone.HOST: mark("Certified hosts (HDS)"),
    Zone.UNDECLARED: mark("Not declared: nothing is sent there"),
}
