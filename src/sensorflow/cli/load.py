"""What the commands that talk to a server share: the key, and a delivery to its summary."""

import sys
from collections.abc import AsyncIterator

from sensorflow.cli.delivery import Delivery
from sensorflow.cli.progress import Display
from sensorflow.cli.remote import Server
from sensorflow.cli.sending import Outgoing, Sender, open_client
from sensorflow.cli.tally import Tally
from sensorflow.errors import SensorFlowError, SettingsError
from sensorflow.settings import Settings


def usable_key(variable: str, given: str | None) -> str:
    """The key to use: the one given, else that of the settings."""
    key = given or getattr(Settings(), variable.lower())
    if not key:
        raise SettingsError(f"{variable}: no key is given; use --api-key, or set it in .env.")
    if not (key.isascii() and key.isprintable()):
        raise SettingsError(f"{variable}: a key has printable ASCII characters only.")
    return str(key)


async def deliver(
    readings: AsyncIterator[Outgoing],
    server: Server,
    key: str,
    tally: Tally,
    display: Display,
    concurrency: int,
) -> Delivery:
    """Deliver all readings, showing how it goes; then a summary, and why it stopped if it did."""
    async with open_client(server, key, concurrency) as client:
        delivery = Delivery(Sender(client, server, tally).send, tally, concurrency)
        await delivery.run(readings, display.watch)
    if tally.done or not delivery.stopped:
        display.summarise()
    if delivery.stopped:
        complain(delivery.stopped)
    return delivery


def complain(error: SensorFlowError) -> None:
    """Tell in one line what ends the command."""
    print(f"sensorflow: {error}", file=sys.stderr)
