"""The order of time: events, run queues, spinning, the main loop."""
