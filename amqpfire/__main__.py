"""The command line of amqpfire."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amqpfire import lean, requests
from uploaderd import __version__, messages
from uploaderd.errors import ConfigError, MessageError

if TYPE_CHECKING:
    from amqpfire.send import Outcome

USAGE, INVALID = 2, 6

EPILOG = """\
examples:
  amqpfire -l
  amqpfire -c /etc/uploaderd/services.d/backup.json -s host-request -p host_id=1 host_add=10.0.0.7
  amqpfire -u amqp://fire@broker/ --password-file key -s host-request -p host_id=7 --wait 5
  amqpfire -s backup --csv hosts.csv --json
  echo '{"mode": "complete"}' | amqpfire -s publish -
  amqpfire --server broker --username fire --password-file key -s publish --body '{}'

exit status:
  0 confirmed and routed, 2 wrong usage or configuration, 3 no queue takes it, 4 refused,
  5 broker not reachable, 6 message not valid, 7 no answer. Of many messages: the highest.

Options that amqp-publish has, too, mean the same; but -s, -p and -l are amqpfire's own. A message
is always persistent and JSON. A password on the command line is hidden from ps as soon as amqpfire
runs, but not from the shell's history: --password-file is better.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options; those to reach the broker are named as `amqp-publish` names them."""
    parser = argparse.ArgumentParser(
        prog="amqpfire",
        description="Checks a message, sends it to a service, and waits for the answer if asked.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"amqpfire {__version__}")
    add("-l", "--list", action="store_true", help="list services and their parameters")
    add("-s", "--service", choices=messages.KINDS, help="to which service")
    add("-p", "--parameter", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    add("body", nargs="?", choices=["-"], help="read the body, as JSON, from standard input")
    add("--body", "-b", dest="text", metavar="JSON", help="the body itself")
    add("--csv", type=Path, metavar="FILE", help="a message a line; the first line names the keys")
    add("--wait", type=float, metavar="SECONDS", help="wait for the answer, and print it")
    add("--json", action="store_true", help="print JSON without --wait, too")
    add("--dry-run", action="store_true", help="check and print the message, and send nothing")
    broker = parser.add_argument_group("broker")
    add = broker.add_argument
    add("-c", "--config", type=Path, help="a JSON file with a section rabbitmq: a service file")
    add("--url", "-u", help="amqp://USER@HOST:PORT/VHOST or amqps://…")
    add("--server", metavar="HOST")
    add("--port", type=int)
    add("--vhost")
    add("--username", metavar="USER")
    add("--password")
    add("--password-file", type=Path, metavar="FILE", help="its first line is the password")
    add("--heartbeat", type=int, metavar="SECONDS")
    add("--exchange", "-e", metavar="NAME")
    add("--routing-key", "-r", metavar="KEY", help="instead of the service's own")
    add("--persistent", action="store_true", help="messages always are")
    add("--content-type", "-C", choices=["application/json"], help="messages always have it")
    add("--ssl", action="store_true", help="use TLS")
    add("--cacert", type=Path, metavar="FILE", help="certificates that are trusted")
    add("--cert", type=Path, metavar="FILE", help="our certificate")
    add("--key", type=Path, metavar="FILE", help="its private key")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; gives the exit status."""
    if argv is None:
        lean.hide_arguments()
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.list:
        print(requests.listing())
        return 0
    if arguments.service is None:
        parser.error("give the service with -s (or -l for a list)")
    sources = (arguments.parameter, arguments.body, arguments.text, arguments.csv)
    if sum(source not in (None, []) for source in sources) > 1:
        parser.error("give one of -p, --body, --csv and -")
    try:
        return _fire(arguments)
    except ConfigError as error:
        print(f"amqpfire: {error}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        return 141
    except KeyboardInterrupt:
        return 130


def _fire(arguments: argparse.Namespace) -> int:
    try:
        bodies = _bodies(arguments)
    except MessageError as error:
        return _report(arguments, None, INVALID, str(error), None)
    if arguments.dry_run:
        for body in bodies:
            print(json.dumps(requests.shown(body), ensure_ascii=False))
        return 0
    # What only checks, lists or errs should not pay for loading the AMQP library.
    lean.import_pika()
    from amqpfire import send, settings

    worst = 0
    broker = settings.settings(arguments)
    key = arguments.routing_key or messages.routing_key(arguments.service)
    for outcome in send.send(broker, key, bodies, arguments.wait):
        worst = max(worst, _told(arguments, bodies[outcome.index], outcome))
    return worst


def _bodies(arguments: argparse.Namespace) -> list[Any]:
    """What is to be sent; raises MessageError for what is not valid."""
    if arguments.csv is not None:
        return list(requests.from_csv(arguments.service, arguments.csv))
    body: object
    if arguments.body is not None:
        body = messages.decode(sys.stdin.buffer.read())
    elif arguments.text is not None:
        body = messages.decode(arguments.text.encode())
    else:
        body = requests.from_parameters(arguments.service, arguments.parameter)
    messages.validate(arguments.service, body)
    return [body]


def _told(arguments: argparse.Namespace, body: object, outcome: Outcome) -> int:
    return _report(arguments, body, outcome.status, outcome.text, outcome.answer)


def _report(
    arguments: argparse.Namespace,
    body: object,
    status: int,
    text: str,
    answer: dict[str, Any] | None,
) -> int:
    """One line a message. The flat object always says how the query itself went."""
    if not arguments.json and arguments.wait is None:
        if status:
            print(f"amqpfire: {text}", file=sys.stderr)
        else:
            print(text)
        return status
    told = requests.told(body, int(status == 0), text, answer)
    print(json.dumps(told, ensure_ascii=False), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
