"""What a running job is doing, in words: the same on pages and in terminals."""

from typing import Final

from appliance.language import mark

#: What a running job is doing, by the word in its progress.
STEP_NAMES: Final[dict[str, str]] = {
    "": mark("starting"),
    "preparing": mark("getting ready"),
    "connecting": mark("connecting to the machine"),
    "waking": mark("waking the machine"),
    "dumping": mark("exporting the database"),
    "reading": mark("reading the files"),
    "saving": mark("finishing the snapshot"),
    "cataloguing": mark("writing the list of files"),
    "rebuilding": mark("making the list of files again"),
    "proving": mark("restoring a sample and comparing"),
    "verifying": mark("restoring a sample and comparing"),
    "checking": mark("re-reading what is stored"),
    "counting": mark("counting the files on both sides"),
    "pruning": mark("removing old snapshots"),
    "compacting": mark("giving space back"),
    "restoring": mark("restoring the files"),
    "comparing": mark("comparing"),
    "importing": mark("reading what the machine sent"),
    "listing": mark("listing the files"),
    "freezing": mark("taking one moment of everything"),
    "sending": mark("sending"),
    "reading-back": mark("reading a part of the copy back"),
    "removing": mark("removing old generations"),
    "tampering": mark("trying to harm a canary"),
    "asking": mark("asking the bucket about itself"),
    "drill-looking": mark("looking at what the place holds"),
    "drill-state": mark("bringing accounts, rights and lists of files back"),
    "drill-first": mark("opening a first document straight from the copy"),
    "drill-restoring": mark("bringing everything back"),
    "drill-comparing": mark("comparing with the living box"),
    "drill-removing": mark("removing everything again"),
}
