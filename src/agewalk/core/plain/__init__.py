"""The plain text of the model: the same source, read as ordinary functions.

A generator hands each effect down through all of its callers, and the answer up again. Where that is too slow, the source is
read once more, as a program: `x = yield Load(cell)` becomes the call `x = do.Load(cell)`, which performs the effect there and
then, and `yield from f(y)` becomes `f(y)`. `text.py` rewrites the syntax tree, `copy.py` imports the result beside the
original, under another name, with the file names and line numbers of the source. What `do.Load` and the others are is up to
whoever runs the copy.
"""

from agewalk.core.plain.copy import PlainCopy
from agewalk.core.plain.text import Vocabulary, plain_text

__all__ = ["PlainCopy", "Vocabulary", "plain_text"]
