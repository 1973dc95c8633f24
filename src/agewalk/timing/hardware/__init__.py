"""The memory system of the modelled machine: cache lines, caches, CPUs and sockets, prices."""
