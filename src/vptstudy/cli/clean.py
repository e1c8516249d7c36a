"""`vptcore clean`: remove a study's results, and ask first where they hold more than an hour of work."""

from __future__ import annotations

from pathlib import Path

from vptstudy.cli.arguments import command, path_of


def add(commands) -> None:
    about = "remove the results of the demo and the rehearsal, or of the studies you name"
    parser = command(commands, "clean", about, "vptcore clean leaves")
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="a study's name (default: demo, rehearsal)")
    parser.add_argument(
        "--results",
        type=path_of,
        default=Path("results"),
        metavar="DIR",
        help="where the studies are (default: results)",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before removing more than an hour of work")
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptstudy.run.removal import clean

    removed = clean(options.results, options.studies, lambda question: options.yes or _agreed(question))
    for name in removed:
        print(f"removed {options.results / name}")
    if not removed:
        print("nothing removed")
    return 0


def _agreed(question: str) -> bool:
    """Whether a person at the terminal says yes; without one the answer is no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print("no: nobody is there to ask; --yes removes it")
        return False
