"""The dashboards, and what Grafana makes of their SQL before it asks the database."""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "deploy/grafana"

DASHBOARDS: dict[str, Any] = {
    path.name: json.loads(path.read_text()) for path in (FOLDER / "dashboards").iterdir()
}


@dataclass(frozen=True)
class View:
    """What a reader of a dashboard has chosen, and the interval that Grafana derives from it."""

    start: datetime
    end: datetime
    interval: timedelta
    sensor: str = "EWR"
    measurement: str = "flow"

    def expand(self, sql: str) -> str:
        """What Grafana makes of it before it asks the database."""
        seconds = int(self.interval.total_seconds())
        for name, value in (
            ("${sensor:sqlstring}", _quoted(self.sensor)),
            ("${measurement:sqlstring}", _quoted(self.measurement)),
            ("$__interval_ms", str(seconds * 1000)),
            ("$__interval", f"{seconds}s"),
        ):
            sql = sql.replace(name, value)
        sql = re.sub(r"\$(__\w+)\(([^)]*)\)", self._macro, sql)
        assert "$" not in sql, sql
        return sql

    def _macro(self, call: re.Match[str]) -> str:
        arguments = [argument.strip() for argument in call[2].split(",")]
        column = arguments[0]
        match call[1], arguments[1:]:
            case "__timeFilter", []:
                return f"{column} BETWEEN '{_utc(self.start)}' AND '{_utc(self.end)}'"
            case "__timeGroupAlias", [interval]:
                seconds = re.fullmatch(r"(\d+)s", interval)
                assert seconds, interval
                width = seconds[1]
                return f'floor(extract(epoch from {column})/{width})*{width} AS "time"'
            case other:
                raise AssertionError(other)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def sql_of(panel: dict[str, Any]) -> str:
    (target,) = panel["targets"]
    sql: str = target["rawSql"]
    return sql


def shortest(panel: dict[str, Any]) -> timedelta:
    """The least interval that Grafana takes for a panel."""
    return timedelta(seconds={"1s": 1, "1m": 60}[panel.get("interval", "1s")])
