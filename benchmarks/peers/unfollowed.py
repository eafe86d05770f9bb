"""The program without its follower: what it costs is measured by leaving it out.

Not a setting, for nobody would want it: sensors would have no counts and charts no rollups.
"""

from sensorflow.cli import main
from sensorflow.history.follower import Follower


async def _nothing(_: Follower) -> bool:
    return False


setattr(Follower, "turn", _nothing)  # noqa: B010

if __name__ == "__main__":
    main()
