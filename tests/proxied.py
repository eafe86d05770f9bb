"""The real program behind a real nginx, in each of the two ways that we ship."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml
from websockets.asyncio.client import connect

from tests.nginx import DOMAIN, ROOT, Nginx, request, running, self_signed, substituted
from tests.servers import READ_KEY, Server, serving

NGINX_PROXY = """
map $http_upgrade $proxy_connection {{
    default upgrade;
    '' $proxy_connection_noupgrade;
}}
map $upstream_keepalive $proxy_connection_noupgrade {{
    default close;
    true '';
}}
map "" $upstream_keepalive {{ default false; }}
log_format vhost escape=default '{log_format}';
access_log off;
error_log {folder}/nginx-proxy.log;
proxy_http_version 1.1;
proxy_set_header Host $host;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $proxy_connection;
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $remote_addr;
proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Original-URI $request_uri;
upstream {domain} {{
    server 127.0.0.1:{server_port};
    keepalive {keepalive};
}}
server {{
    server_name {domain};
    access_log {folder}/sensorflow.log vhost;
    listen 127.0.0.1:{http_port} default_server;
    location /.well-known/acme-challenge/ {{
        auth_basic off;
        allow all;
        root {webroot};
        try_files $uri =404;
        break;
    }}
    listen 127.0.0.1:{https_port} ssl http2 default_server;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {certificates}/fullchain.pem;
    ssl_certificate_key {certificates}/privkey.pem;
    include {folder}/vhost.d/default;
    location / {{
        proxy_pass http://{domain};
        set $upstream_keepalive true;
    }}
}}
"""
"""What nginx-proxy 1.11 writes of docker-compose.yml, in words of ours: the parts of its template
that its settings there reach, with HTTPS_METHOD=noredirect and TRUST_DOWNSTREAM_PROXY=false."""


def write_site(nginx: Nginx, server_port: int, certificates: Path, devices: str) -> None:
    """Our site file, word for word but for ports, paths and, if `on`, the documented switch."""
    replacements = {
        r"listen \[::\]:.*\n": "",
        r"listen 80 ": f"listen 127.0.0.1:{nginx.http_port} ",
        r"listen 443 ": f"listen 127.0.0.1:{nginx.https_port} ",
        r"server 127\.0\.0\.1:8000;": f"server 127.0.0.1:{server_port};",
        r"/etc/letsencrypt/live/sensors\.example\.net": str(certificates),
        r"/var/www/html": str(nginx.webroot),
    }
    if devices == "on":
        replacements[r'^    #"~'] = '    "~'
    site = (ROOT / "deploy/nginx/sensorflow.conf").read_text()
    snippet = (ROOT / "deploy/nginx/sensorflow-proxy.conf").read_text()
    nginx.write("sites-enabled/sensorflow.conf", substituted(site, replacements))
    nginx.write(
        "snippets/sensorflow-proxy.conf",
        substituted(snippet, {r"/var/log/nginx": str(nginx.folder)}),
    )


def write_nginx_proxy(nginx: Nginx, server_port: int, certificates: Path, devices: str) -> None:
    """Our files for nginx-proxy, where docker-compose.yml mounts them."""
    ours = ROOT / "deploy/nginx-proxy"
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    shared = substituted(
        (ours / "http.conf").read_text(), {r"/etc/nginx/sensorflow": f"{nginx.folder}/sensorflow"}
    )
    nginx.write("sites-enabled/sensorflow.conf", shared)
    nginx.write("sensorflow-devices.conf", (ours / f"devices-{devices}.conf").read_text())
    nginx.write("vhost.d/default", (ours / "vhost.conf").read_text())
    nginx.write(
        "sites-enabled/default.conf",
        NGINX_PROXY.format(
            folder=nginx.folder,
            webroot=nginx.webroot,
            domain=DOMAIN,
            server_port=server_port,
            http_port=nginx.http_port,
            https_port=nginx.https_port,
            certificates=certificates,
            keepalive=services["api"]["labels"]["com.github.nginx-proxy.nginx-proxy.keepalive"],
            log_format=services["nginx-proxy"]["environment"]["LOG_FORMAT"].replace("$$", "$"),
        ),
    )


Write = Callable[[Nginx, int, Path, str], None]
KINDS: Final[dict[str, Write]] = {"site": write_site, "nginx-proxy": write_nginx_proxy}


class Site:
    """nginx, the server behind it, and who trusts its certificate."""

    def __init__(self, nginx: Nginx, server: Server, tls: ssl.SSLContext) -> None:
        self.nginx = nginx
        self.server = server
        self.tls = tls

    def send(self, *args: Any, **options: Any) -> bytes:
        """One request over TLS."""
        return self.nginx.exchange(request(*args, **options), self.tls)

    def send_plain(self, *args: Any, **options: Any) -> bytes:
        return self.nginx.exchange(request(*args, **options))

    def watch(self, query: str = f"?api-key={READ_KEY}", **options: Any) -> connect:
        # Not with the client for threads: Python before 3.13 loses data where one thread reads
        # and another writes the same TLS connection.
        return connect(
            f"wss://{DOMAIN}/ws/sensor_updates{query}",
            host="127.0.0.1",
            port=self.nginx.https_port,
            ssl=self.tls,
            proxy=None,
            **options,
        )


@contextmanager
def site(folder: Path, kind: str, devices: str = "off") -> Iterator[Site]:
    tls = self_signed(folder / "certificates")
    with serving(folder / "server", TRUSTED_PROXIES="127.0.0.1") as server:
        nginx = Nginx(folder / "nginx")
        KINDS[kind](nginx, server.port, folder / "certificates", devices)
        with running(nginx):
            yield Site(nginx, server, tls)
