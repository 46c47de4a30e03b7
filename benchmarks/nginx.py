"""nginx as an origin, and as a plain proxy to compare with (`tune`): its configurations, and what it counts.

One process, access log off. Connections are kept open without the limit of 1,000 requests that nginx has by default:
that limit would put reconnections into every target's figures.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks import envoy


def find() -> Path | None:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def command(config: Path) -> list[str]:
    binary = find()
    assert binary is not None, "callers look first"
    return [str(binary), "-e", "stderr", "-p", str(config.parent), "-c", str(config)]


def requests_counted(status: bytes) -> int:
    """The third number of stub_status: requests of all ports of this nginx, the one that asks included."""
    found = re.search(rb"requests\s+\d+ \d+ (\d+)", status)
    if found is None:
        raise ValueError(f"not a page of stub_status: {status!r}")
    return int(found[1])


def _config(http: str, home: Path) -> str:
    paths = "".join(
        f"  {kind}_temp_path {home}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""daemon off;
master_process off;
pid {home}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
{paths}  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_max_body_size 0;
{http}}}
"""


def quoted(text: str) -> str:
    return text.replace("'", "\\'")


def origin_config(mark: str, answer: str, port: int, count_port: int, home: Path) -> str:
    """`answer`: the directives that answer a GET. A PUT goes to a file: other methods nginx answers as soon as it
    has the head, which no application does."""
    return _config(
        f"""  default_type application/json;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      add_header X-Origin {mark};
      root {home};
      dav_methods PUT;
      create_full_put_path on;
      if ($request_method = GET) {{ {answer} }}
    }}
  }}
  server {{ listen 127.0.0.1:{count_port}; location / {{ stub_status; }} }}
""",
        home,
    )


def proxy_config(keys: Sequence[str], port: int, baseline_port: int, sandbox_port: int, home: Path) -> str:
    """The same regexes as Envoy's, in a map; one after another as well."""

    def matches(field: str, otherwise: str) -> str:
        lines = "".join(f'    "~{envoy.key_regex(key)}" sandbox;\n' for key in keys)
        return f"  map $http_{field} $by_{field} {{\n    default {otherwise};\n{lines}  }}\n"

    def upstream(name: str, upstream_port: int) -> str:
        return (
            f"  upstream {name} {{ server 127.0.0.1:{upstream_port}; keepalive 1024; keepalive_requests 1000000000; "
            "keepalive_timeout 1h; }\n"
        )

    return _config(
        f"""  map_hash_bucket_size 256;
{matches("tracestate", "baseline")}{matches("baggage", "$by_tracestate")}
{upstream("baseline", baseline_port)}{upstream("sandbox", sandbox_port)}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://$by_baggage;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
    }}
  }}
""",
        home,
    )
