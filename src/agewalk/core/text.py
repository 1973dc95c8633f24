"""Text of other people's files, made fit for a terminal."""


def printable(text: str, *, keep: str = "") -> str:
    """`text` with a space for each control character, but for those in `keep`: none moves the cursor, rings or sets a colour."""
    return "".join(c if c.isprintable() or c in keep else " " for c in text)
