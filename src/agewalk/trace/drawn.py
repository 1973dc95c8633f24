"""Charts as files. All charts of agewalk are drawn here, so no text of a file's reaches a renderer or a browser as it is."""

from typing import Any, Final

from agewalk.core.text import filled, html, printable_strings

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


def drawn(chart: dict[str, Any], kind: str, *, title: str, scale: float = 1.0) -> bytes:
    """A Vega-Lite chart as the content of a file, without a network. kind: "png", "svg" or "html" (the SVG in a page that needs
    nothing else). scale: pixels of a PNG for each of the chart's."""
    import vl_convert

    spec = printable_strings(chart)
    if kind == "png":
        return bytes(vl_convert.vegalite_to_png(spec, scale=scale, allowed_base_urls=[]))
    svg = str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]))
    return svg.encode() if kind == "svg" else filled(_PAGE, {"TITLE": html(title), "SVG": svg}).encode()
