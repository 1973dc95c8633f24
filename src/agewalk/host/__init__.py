"""A live host: what its kernel tells about memory and VMs. Standard library only, so that it runs on a bare Python.

All reading goes through one `Host`, whose root may be a recorded tree. Reading changes nothing; `aging` writes, and says so.
"""
