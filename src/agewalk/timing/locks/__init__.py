"""The kernel's locks as they work inside, on words that have cache lines: qspinlock, qrwlock, rwsem.

Bit locks (rmap heads) are written out in the model and need nothing here.
"""
