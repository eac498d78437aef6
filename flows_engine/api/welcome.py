"""The page at ``/``: what this server is and how to use it. No script, no picture, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

#: What the page itself may load: its own inline style and nothing else.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } td { padding: .2rem 1.5rem .2rem 0; vertical-align: top; }
pre { padding: .8rem 1rem; border: 1px solid color-mix(in srgb, currentColor 25%, transparent); overflow-x: auto; }
"""

_COMMANDS = """# a flow, from start to end
flows run examples/loop_counter/definition.yaml
flows runs list

# the official clients, pointed here
eval "$(flows env)"
globus flows list"""


def page(version: str, services: Mapping[str, str]) -> str:
    """The page as HTML."""
    rows = "\n".join(f"<tr><td>{escape(name)}</td><td>{_address(url)}</td></tr>" for name, url in services.items())
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>flows-engine</title><style>{_STYLE}</style></head>
<body>
<h1>flows-engine {escape(version)}</h1>
<p>This server runs flows and speaks the APIs of Globus Flows and Globus Auth. It is up.</p>
<h2>Services</h2>
<table>
{rows}
</table>
<h2>First steps</h2>
<pre>{escape(_COMMANDS)}</pre>
</body>
</html>
"""


def _address(url: str) -> str:
    """A link where there is a page to read; the addresses of APIs are for programs."""
    text = escape(url)
    return f'<a href="{text}">{text}</a>' if url.endswith("/docs/") else f"<code>{text}</code>"
