"""mm/filemap.c as far as mapped files need it: a page cache whose pages come back from disk and remember that they were here."""

from __future__ import annotations

from agewalk.core.effects import FetchAnd, Load, Step, Store, Work
from agewalk.model.mm.folio import FILE, PG_DIRTY
from agewalk.model.mm.memory import alloc_folio
from agewalk.model.mm.mm_types import AddressSpace, Folio, Memory
from agewalk.model.mm.swap import folio_add_lru


def filemap_fault(memory: Memory, mapping: AddressSpace, index: int, *, in_fault: bool) -> Step[Folio]:
    """filemap_fault(): the page, read from disk if it is not cached (filemap_add_folio() tells the LRU if it was here before)."""
    cell = mapping.page(index)
    found: Folio | int | None = yield Load(cell)
    if isinstance(found, Folio):
        return found
    folio = yield from alloc_folio(memory, FILE)
    found = yield Load(cell)
    if isinstance(found, int):
        yield from folio.lruvec.refault(folio, found, in_fault=in_fault)
    yield Store(folio.backing, (cell,))  # the reference of the allocation becomes the page cache's
    yield Store(cell, folio)
    yield from folio_add_lru(memory, folio, in_fault=in_fault)
    yield Work("disk_read")
    return folio


def writeback(mapping: AddressSpace) -> Step[int]:
    """The flusher writes a file's dirty pages to a disk that takes no time. Pages written."""
    written = 0
    for index in mapping.cached():
        folio: Folio | int | None = yield Load(mapping.page(index))
        if isinstance(folio, Folio) and (yield FetchAnd(folio.flags, ~PG_DIRTY)) & PG_DIRTY:
            yield Work("disk_write")
            written += 1
    return written
