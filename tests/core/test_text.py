"""Nothing that a file says reaches the terminal as a command."""

from agewalk.core.text import printable


def test_control_characters_become_spaces() -> None:
    assert printable("a\x1b[31m\r\nb\x00é漢\u202e") == "a [31m  b é漢 "
    assert printable("a\nb\x07", keep="\n") == "a\nb "
