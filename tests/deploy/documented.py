"""Runs what docs/deployment.md says about systemd, nginx and Prometheus, on a machine made for it.

`unshare --mount --net --pid --fork --mount-proc --kill-child python -m tests.deploy.documented`:
a network of its own, whose ports are all free, and folders of the system whose changes are lost
afterwards. What the machine lacks is stood in for: `sudo` (it is root), `apt` (the packages are
installed; it starts nginx, as their installation does), `systemctl` (there is no systemd), and an
authority of our own in place of Let's Encrypt.
"""

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

from tests.deploy.acme import Authority
from tests.nginx import DOMAIN, ROOT

SYSTEMCTL = f"""#!/bin/bash
unit=/etc/systemd/system/sensorflow.service
case "$*" in
"reload nginx") exec nginx -s reload ;;
"daemon-reload") exec systemd-analyze verify "$unit" ;;
"enable --now sensorflow")
    mkdir /var/lib/sensorflow
    cd "$(sed -n 's/^WorkingDirectory=//p' "$unit")"
    set -a
    eval "$(sed -n 's/^Environment=//p' "$unit")"
    . "$(sed -n 's/^EnvironmentFile=-//p' "$unit")"
    ls -l "$(sed -n 's/^EnvironmentFile=-//p' "$unit")" | grep -q '^-rw------- '
    export NOTIFY_SOCKET=/run/notify
    exec {sys.executable} - $(sed -n 's/^ExecStart=//p' "$unit") <<'END'
import socket, subprocess, sys
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind("/run/notify")
manager.settimeout(60)
with open("/var/log/sensorflow.log", "wb") as log:
    subprocess.Popen(sys.argv[1:], stdout=log, stderr=log, start_new_session=True)
assert manager.recv(100) == b"READY=1"
END
    ;;
"restart prometheus")
    . /etc/default/prometheus
    log=/var/log/prometheus.log
    setsid runuser -u prometheus -- /usr/bin/prometheus $ARGS \\
        --config.file=/etc/prometheus/prometheus.yml \\
        --storage.tsdb.path=/var/lib/prometheus/metrics2/ >$log 2>&1 &
    ;;
*) echo "no such systemctl: $*" >&2; exit 64 ;;
esac
"""
SHIMS = {
    "sudo": '#!/bin/sh\nexec "$@"\n',
    "apt": "#!/bin/sh\n[ $2 != nginx ] || exec nginx\n",
    "systemctl": SYSTEMCTL,
}
BY_HAND = ("python3 -m venv", "pip install")
"""Not run here, because they take a minute and the packages' registry: the program is that of the
tests."""


PATIENCE = 60.0
"""Seconds for Prometheus to start and to have asked the server once."""


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def make_the_machine(folder: Path) -> None:
    run("mount", "-t", "tmpfs", "tmpfs", folder)
    run("ip", "link", "set", "lo", "up")
    for name in ("etc", "var", "opt", "run", "usr/local"):
        upper, work = folder / name / "upper", folder / name / "work"
        upper.mkdir(parents=True)
        work.mkdir()
        layers = f"lowerdir=/{name},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, f"/{name}")
    for name, text in SHIMS.items():
        path = Path("/usr/local/bin") / name
        path.write_text(text)
        path.chmod(0o755)
    (Path("/opt/sensorflow")).mkdir()
    Path("/opt/sensorflow/bin").symlink_to(Path(sys.executable).parent)
    with Path("/etc/hosts").open("a") as hosts:
        hosts.write(f"\n127.0.0.1 {DOMAIN}\n")


def blocks(heading: str) -> list[str]:
    """The blocks of commands of one section."""
    text = (ROOT / "docs/deployment.md").read_text()
    section = re.split(r"^## ", text.split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0]
    return re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def follow(heading: str) -> None:
    """Run the commands of one section, one after the other."""
    for block in blocks(heading):
        lines = [line for line in block.splitlines() if not any(text in line for text in BY_HAND)]
        print(f"# {heading}", flush=True)
        follow_block("\n".join(lines))


def follow_block(block: str) -> str:
    """Run one block; what it printed."""
    command = ("bash", "-euxo", "pipefail", "-c", block)
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    print(said, flush=True)
    return said


def watch() -> None:
    """What the page says of Prometheus; return when that reads the server."""
    metrics, _, _, install, look, *_ = blocks("Watching it")
    key = ". /etc/sensorflow.env\n"
    assert "\nsensorflow_build_info{" in follow_block(key + metrics)
    follow_block(install)
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(subprocess.CalledProcessError):
            if '"1"]' in follow_block(look):
                return
        assert time.monotonic() < deadline, Path("/var/log/prometheus.log").read_text()
        time.sleep(0.5)


def main() -> None:
    folder = Path(mkdtemp())
    make_the_machine(folder)
    authority = Authority(folder / "authority", 80)
    with authority.running():
        Path("/etc/letsencrypt").mkdir(exist_ok=True)
        # Without a terminal certbot would wait some minutes before a renewal.
        Path("/etc/letsencrypt/cli.ini").write_text(
            f"server = {authority.directory}\nno-random-sleep-on-renew = true\n"
        )
        trusted = folder / "roots.pem"
        trusted.write_text(authority.root())
        os.environ |= {
            "PATH": f"/usr/local/bin:{os.environ['PATH']}:/usr/sbin",
            "REQUESTS_CA_BUNDLE": str(authority.certificate),
            "CURL_CA_BUNDLE": str(trusted),
        }
        follow("systemd")
        follow("HTTPS with nginx and certbot")
        watch()


if __name__ == "__main__":
    main()
