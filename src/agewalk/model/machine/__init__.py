"""A host put together: kernel, memory, processes, virtual machines, and the events that happen to them."""

from agewalk.model.machine.machine import Machine
from agewalk.model.machine.parts import Process, VirtualMachine
from agewalk.model.machine.view import PageView

__all__ = ["Machine", "PageView", "Process", "VirtualMachine"]
