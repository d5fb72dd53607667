"""The soak: one process that touches the trigger, runs every watcher beside it, and counts who saw what."""
