"""``armoire completion``: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class

from appliance.commands.framework import Command, answers
from appliance.commands.session import Answer, Session
from appliance.language import mark


@click.command(
    "completion",
    cls=Command,
    help=mark(
        "Print the completion script of a shell.\n\n"
        "For bash: armoire completion bash > ~/.local/share/bash-completion/completions/armoire"
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
@answers
def completion(_session: Session, context: click.Context, shell: str) -> Answer:
    """Print the script."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choices are click's own
    script = kind(context.find_root().command, {}, "armoire", "_ARMOIRE_COMPLETE").source()
    return Answer(
        {"shell": shell, "script": script},
        lambda out: out.print(script, end="", soft_wrap=True),
    )
