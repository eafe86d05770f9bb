"""The pages say what the code does: each of these fails where the two differ."""

import ast
import importlib
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import typer.main
from fastapi import FastAPI

from sensorflow import settings
from sensorflow.cli.commands import app as program
from sensorflow.errors import Reason
from sensorflow.keys.keyring import Keyring
from sensorflow.keys.limits import FailureLimit
from sensorflow.keys.sessions import Sessions
from sensorflow.metrics import Metrics
from sensorflow.web import live, problems
from sensorflow.web.api import create_api
from sensorflow.web.edge import INGEST_PATH, LIVE_PATH
from sensorflow.web.gate import Gate
from sensorflow.web.health import Health, Status

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/sensorflow"
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
)
UNITS = {"KiB": 1024, "MiB": 1024**2, "day": 86_400, "days": 86_400}


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of every table row."""
    return [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ]


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    _, found, rest = f"\n{text}".partition(f"\n{heading}\n")
    assert found, f"there is no heading {heading!r}"
    return re.split(rf"\n#{{1,{level}}} ", rest)[0]


def code_in(text: str) -> Iterator[str]:
    """Every code span and every line of every code block."""
    fenced = re.findall(r"^```.*?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for block in fenced:
        yield from block.splitlines()
    for line in prose.splitlines():
        if line.startswith("    "):
            yield line.strip()
        else:
            yield from re.findall(r"`([^`]+)`", line)


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def default_of(field: object) -> str:
    if field in (None, ()):
        return "not set"
    return f"`{field.value if isinstance(field, Enum) else field}`"


# Settings


def test_every_setting_is_documented_with_its_default_and_description() -> None:
    documented = [
        row
        for row in rows(page("docs/settings.md"))
        if len(row) == 3 and re.fullmatch(r"`[A-Z_]+`", row[0])
    ]
    assert documented == [
        [f"`{variable}`", default_of(field.default), field.description]
        for variable, field in settings.fields().items()
    ]


# Refusals


def refusal_rows() -> list[list[str]]:
    return [
        row
        for row in rows(section(page("docs/api.md"), "## Refusals"))
        if len(row) == 3 and row[0].isdigit()
    ]


def sentences_in_code() -> list[tuple[Reason, str]]:
    """Every sentence that stands beside its reason, with `…` for what is filled in."""
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(args=[ast.Attribute() as name, said, *_]):
                    pass
                case ast.Tuple(elts=[ast.Attribute() as name, said]):
                    pass
                case _:
                    continue
            if ast.unparse(name.value) != "Reason":
                continue
            match said:
                case ast.Constant(value=str(text)) if text:
                    found.append((Reason[name.attr], text))
                case ast.JoinedStr(values=parts):
                    text = "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts
                    )
                    found.append((Reason[name.attr], text))
    return found


def test_every_refusal_is_documented_with_its_status() -> None:
    documented = {(int(status), reason.strip("`")) for status, reason, _ in refusal_rows()}
    assert documented == {(problems.status_of(reason), reason.value) for reason in Reason}


def test_every_sentence_of_a_refusal_is_documented_as_it_is_said() -> None:
    said = sentences_in_code()
    assert len(said) > len(Reason), "the sentences are no longer found in the code"
    documented = {
        (reason.strip("`"), sentence)
        for _, reason, sentence in refusal_rows()
        if not sentence.startswith("(")
    }
    assert documented == {(reason.value, sentence) for reason, sentence in said}


def test_every_close_reason_is_documented() -> None:
    documented = {row[1] for row in rows(section(page("docs/api.md"), "## The live stream"))}
    assert set(live._CLOSE_REASONS.values()) <= documented


# Routes and metrics


def test_every_route_is_documented() -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    async def answers() -> Health:
        return Health(Status.OK)

    gate = Gate(Keyring({}), FailureLimit(), Sessions(b""))
    anything: Any = None
    paths = create_api(gate, Metrics(), answers, anything, anything, anything, lifespan).openapi()[
        "paths"
    ]
    routes = {(method.upper(), path) for path, item in paths.items() for method in item}
    routes |= {("GET", LIVE_PATH), ("POST", INGEST_PATH)}
    routes |= {("GET", "/"), ("GET", "/docs"), ("GET", "/openapi.json")}
    documented = set()
    for cell, key, _ in (row for row in rows(page("docs/api.md")) if len(row) == 3):
        if key != "Key" and "/" in cell:
            methods: list[str] = []
            for part in re.findall(r"[A-Z]{3,}|/[a-z0-9_./{}]*", cell):
                if part.startswith("/"):
                    documented |= {(method, part) for method in methods}
                    methods = []
                else:
                    methods.append(part)
    assert documented == routes


def test_every_metric_is_documented() -> None:
    exposed = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in Metrics().registry.collect()
    }
    table = rows(section(page("docs/api.md"), "## Metrics"))
    assert {row[0].strip("`") for row in table} - {"Name"} == exposed


# Bounds


def test_every_bound_is_the_one_in_the_code() -> None:
    bounds = rows(section(page("docs/architecture.md"), "## What is bounded"))[1:]
    assert len(bounds) > 10
    for what, value, where, _ in bounds:
        module, _, name = where.strip("`").rpartition(".")
        found = getattr(importlib.import_module(f"sensorflow.{module}"), name)
        seconds_or_count = found.total_seconds() if isinstance(found, timedelta) else found
        number, unit = value.split(" ")
        documented = float(number.replace(",", "")) * UNITS.get(unit, 1)
        assert documented == seconds_or_count, f"{what}: {where} is {found}"


# The program


def commands() -> dict[str, set[str]]:
    """Each command that does something, with its options and arguments as one types them."""
    found = {}

    def walk(path: str, command: object) -> None:
        children = getattr(command, "commands", {})
        for name, child in children.items():
            walk(f"{path} {name}", child)
        if not children or path == "sensorflow":
            found[path] = {
                spelling
                for parameter in command.params  # type: ignore[attr-defined]
                for spelling in (
                    (*parameter.opts, *parameter.secondary_opts)
                    if parameter.param_type_name == "option"
                    else (parameter.name.upper(),)
                )
            }

    walk("sensorflow", typer.main.get_command(program))
    return found


def test_every_command_and_option_is_documented() -> None:
    text = page("docs/cli.md")
    documented = {
        heading: {
            row[0].split("`")[1].split(" ")[0]
            for row in rows(section(text, f"## `{heading}`"))
            if row[0].startswith("`")
        }
        for heading in re.findall(r"^## `([^`]+)`$", text, re.MULTILINE)
    }
    assert documented == {name: options - {"--help"} for name, options in commands().items()}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_page_shows_exists(path: Path) -> None:
    known = commands()
    for line in code_in(path.read_text(encoding="utf-8")):
        for shown in re.findall(r"(?:^|[ /])sensorflow ([a-z][^#|&]*)", line):
            words = shown.split()
            name = max(
                (n for n in known if f"sensorflow {shown} ".startswith(f"{n} ")),
                key=len,
                default="",
            )
            assert name not in ("", "sensorflow"), line
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert options <= known.get(name, set()) | {"--help"}, line


# Links, files and make targets


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, link


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_source_file_that_a_page_names_exists(path: Path) -> None:
    made = {line.strip("/") for line in page(".gitignore").splitlines()}
    for code in code_in(path.read_text(encoding="utf-8")):
        for named in re.findall(r"^[\w/]+\.(?:c|py|toml|ts)$|^(?!DATA_DIR/)[\w/]*\w/$", code):
            places = (ROOT / named, SOURCE / named, path.parent / named)
            assert named.strip("/") in made or any(place.exists() for place in places), named


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", page("Makefile"), re.MULTILINE))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_that_a_page_names_exists(path: Path) -> None:
    named = {
        target
        for line in code_in(path.read_text(encoding="utf-8"))
        for target in re.findall(r"\bmake ([a-z][a-z-]*)", line)
    }
    assert named <= make_targets()


def test_every_make_target_is_documented() -> None:
    table = rows(page("CONTRIBUTING.md"))
    assert {row[0].strip("`") for row in table} >= {f"make {name}" for name in make_targets()}


def test_every_decision_is_listed_by_its_title() -> None:
    listed = re.findall(
        r"^- \[(.+)\]\(decisions/(.+)\)$", page("docs/architecture.md"), re.MULTILINE
    )
    titles = [
        (path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# "), path.name)
        for path in sorted((ROOT / "docs/decisions").glob("*.md"))
    ]
    assert listed == titles
