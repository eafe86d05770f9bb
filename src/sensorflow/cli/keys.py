"""`sensorflow keys …`."""

from sensorflow.errors import SettingsError
from sensorflow.keys.keyring import VARIABLES
from sensorflow.keys.store import renew_key
from sensorflow.settings import Settings


def renew_and_show(variable: str) -> None:
    """Make and show a new key in place of a kept one."""
    settings = Settings()
    if getattr(settings, variable.lower()) is not None:
        raise SettingsError(
            f"{variable}: it is set in the environment or in .env; change it there."
        )
    scope = next(scope for scope, name in VARIABLES.items() if name == variable)
    print(f"{variable}={renew_key(settings.data_dir, scope)}")
    print("It is shown this once, and in force from the server's next start.")
    if settings.workers > 1:
        print("SIGHUP to the running server puts it in force without a pause.")
