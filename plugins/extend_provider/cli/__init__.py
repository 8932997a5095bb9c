"""``airflow extend …``: a module for each command, or for each group of commands.

Airflow loads this package whenever one of its commands runs. So its modules say at their top only what the
commands are called and what they take; what a command needs is imported when it runs.
"""

from __future__ import annotations

from airflow.cli.cli_config import GroupCommand

from extend_provider.cli import cancel, webhooks


def get_extend_cli_commands() -> list[GroupCommand]:
    """Return the commands; Airflow finds this function by the key ``cli`` of the provider's description."""
    commands = (cancel.command(), webhooks.command())
    return [GroupCommand(name="extend", help="Work at Extend (extend.ai)", subcommands=commands)]
