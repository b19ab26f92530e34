"""HAProxy and Caddy with the product's files, on free ports."""

import re
from pathlib import Path
from typing import Final

_DEPLOY: Final = Path(__file__).parents[2] / "deploy"


def haproxy_command(
    folder: Path, port: int, plain_port: int, backend: int, health: int, certificate: Path
) -> list[str]:
    """Write deploy/haproxy/haproxy.cfg and servers.cfg into `folder`, with these ports and this certificate.

    `backend` and `health` are the ports of the servers at 127.0.0.11 and 127.0.0.12. Return the command that starts
    HAProxy in the foreground.
    """
    shared = (_DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    # This HAProxy runs under the account of the test.
    shared = re.sub(r"^    (log|user|group|maxconn) .*\n", "", shared, flags=re.MULTILINE)
    (folder / "haproxy.cfg").write_text(shared)
    text = (_DEPLOY / "haproxy" / "servers.cfg").read_text().replace("    no log\n", "")
    text = text.replace("/etc/haproxy/certificates/", str(certificate)).replace(":443", f":{port}")
    text = text.replace(":8000", f":{backend}").replace("port 9000", f"port {health}")
    (folder / "servers.cfg").write_text(text.replace("bind :80\n", f"bind :{plain_port}\n"))
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg"), "-f", str(folder / "servers.cfg")]


def caddy_command(folder: Path, port: int, plain_port: int, backend: int, health: int) -> list[str]:
    """Write deploy/caddy/Caddyfile into `folder`, with these ports and certificates of Caddy's own authority.

    `backend` and `health` are the ports of the servers at 127.0.0.11 and 127.0.0.12. Return the command that starts
    Caddy in the foreground. Caddy keeps its authority below XDG_DATA_HOME.
    """
    text = (_DEPLOY / "caddy" / "Caddyfile").read_text()
    options = (
        f"\tadmin off\n\tlocal_certs\n\tskip_install_trust\n\thttp_port {plain_port}\n\thttps_port {port}\n"
    )
    text = text.replace("\temail operations@example.id\n", options, 1)
    text = text.replace(":8000", f":{backend}").replace("health_port 9000", f"health_port {health}")
    (folder / "Caddyfile").write_text(text)
    return ["caddy", "run", "--config", str(folder / "Caddyfile")]
