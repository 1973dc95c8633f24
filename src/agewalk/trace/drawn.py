"""Charts as files. All charts of agewalk are drawn here, so no text of a file's reaches a renderer or a browser as it is."""

import resource
from typing import Any, Final

from agewalk.core.errors import MissingError
from agewalk.core.text import filled, html, printable_strings
from agewalk.core.units import format_size

_ADDRESSES: Final = 1 << 40  # V8 asked for more than 68 GB when tried

#: A picture in a page without scripts. The renderer writes style attributes.
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'">
<title>{{TITLE}}</title>
</head>
<body>
{{SVG}}
</body>
</html>
"""


def check_renderer() -> None:
    """Raise MissingError where the renderer cannot start: it reserves far more addresses than it uses, and
    aborts the process if a limit (`ulimit -v`) forbids that."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _ADDRESSES:
        raise MissingError(
            f"pictures and charts cannot be drawn under an address-space limit of {format_size(limit)}",
            hint="raise it (ulimit -v unlimited), or leave the picture out",
        )


def drawn(chart: dict[str, Any], kind: str, *, title: str, scale: float = 1.0) -> bytes:
    """A Vega-Lite chart as the content of a file, without a network. kind: "png", "svg" or "html" (the SVG in a page that needs
    nothing else). scale: pixels of a PNG for each of the chart's."""
    check_renderer()
    import vl_convert

    spec = printable_strings(chart)
    if kind == "png":
        return bytes(vl_convert.vegalite_to_png(spec, scale=scale, allowed_base_urls=[]))
    svg = str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]))
    return svg.encode() if kind == "svg" else filled(_PAGE, {"TITLE": html(title), "SVG": svg}).encode()
