"""``armoire``: parse, call, print. Every command is in ``appliance.commands``."""

import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from appliance import __version__
from appliance.commands.framework import LateGroup, use_french_for_click
from appliance.commands.session import ExitCode, Session, as_json, exit_code_of
from appliance.errors import ArmoireError, DatabaseUnusable, JobCancelled, JobCrashed
from appliance.language import mark

#: Command → where it is, in the order of use.
COMMANDS: Final = {
    "status": "appliance.commands.status:status",
    "init": "appliance.commands.setting_up:init",
    "link": "appliance.commands.setting_up:link",
    "envelope": "appliance.commands.envelope:group",
    "settings": "appliance.commands.practice:settings",
    "machine": "appliance.commands.machines:machine",
    "share": "appliance.commands.shared_folders:share",
    "push-keys": "appliance.commands.pushing:push_keys",
    "backup": "appliance.commands.backup:backup",
    "night": "appliance.commands.backup:night",
    "snapshots": "appliance.commands.snapshots:snapshots",
    "ls": "appliance.commands.snapshots:ls",
    "find": "appliance.commands.snapshots:find",
    "cat": "appliance.commands.snapshots:cat",
    "diff": "appliance.commands.snapshots:diff",
    "restore": "appliance.commands.restore:restore",
    "verify": "appliance.commands.upkeep:verify",
    "prune": "appliance.commands.upkeep:prune",
    "catalogue": "appliance.commands.upkeep:catalogue",
    "repository": "appliance.commands.mending:repository",
    "jobs": "appliance.commands.jobs:jobs",
    "job": "appliance.commands.jobs:job",
    "ledger": "appliance.commands.ledger:ledger",
    "clock": "appliance.commands.clock:clock",
    "certificate": "appliance.commands.certificate:certificate",
    "links": "appliance.commands.links:group",
    "notices": "appliance.commands.notices:group",
    "network": "appliance.commands.network:network",
    "target": "appliance.commands.targets:target",
    "host": "appliance.commands.hosts:host",
    "push": "appliance.commands.copies:push",
    "generations": "appliance.commands.copies:generations",
    "verify-copy": "appliance.commands.copies:verify_copy",
    "disk": "appliance.commands.disks:disk",
    "kit": "appliance.commands.kit:kit",
    "receive": "appliance.commands.receive:receive",
    "recover": "appliance.commands.recover:recover",
    "drill": "appliance.commands.drill:drill",
    "serve": "appliance.commands.serve:serve",
    "worker": "appliance.commands.serve:worker",
    "run": "appliance.commands.running:run",
    "demo": "appliance.commands.demo:demo",
    "completion": "appliance.commands.completion:completion",
}


@click.group(
    cls=LateGroup,
    where=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help=mark(
        "Armoire: the practice's own private cloud. Backs machines up at night, proves it, finds "
        "any file of any night.\n\n"
        "Every command takes --json. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done with "
        "warnings, 4 refused."
    ),
)
@click.version_option(__version__, prog_name="armoire")
@click.pass_context
def armoire(context: click.Context) -> None:
    """Hold the session of this run."""
    context.ensure_object(Session)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    session = Session(as_json="--json" in argv)
    if session.language == "fr":
        use_french_for_click()
    try:
        code = armoire.main(
            args=list(argv), prog_name="armoire", standalone_mode=False, obj=session
        )
        return int(code) if isinstance(code, int) else ExitCode.DONE
    except click.ClickException as error:
        if session.as_json:
            body = {"code": "input.wrong-usage", "message": error.format_message(), "facts": {}}
            session.out.file.write(as_json({"error": body}) + "\n")
        else:
            error.show()
        return ExitCode.WRONG_USAGE
    except ArmoireError as error:
        session.give_error(error)
        return exit_code_of(error)
    except (KeyboardInterrupt, click.Abort):
        session.give_error(JobCancelled())
        return ExitCode.FAILED
    except BrokenPipeError:
        # Who reads us («| head») has enough; nothing may be written to it at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except Exception as error:
        if os.environ.get("ARMOIRE_DEBUG"):
            raise
        session.give_error(_in_words(session, error))
        return ExitCode.FAILED
    finally:
        session.close()


def _in_words(session: Session, error: Exception) -> ArmoireError:
    from sqlalchemy.exc import DatabaseError  # noqa: PLC0415 - only in this case

    if isinstance(error, DatabaseError):
        return DatabaseUnusable(str(session.folder / "state.sqlite"), str(error.orig))
    return JobCrashed(type(error).__name__)


if __name__ == "__main__":
    main()
