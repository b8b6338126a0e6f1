"""Hooks, on Tensors and on Modules: functions that are called when something is known, until they are removed."""


class RemovableHandle:
    """A hook's name among others, in a dict: `remove()` takes it away, and so does the end of a `with` block."""

    def __init__(self, hooks, hook):
        self.hooks, self.key = hooks, object()  # not itself: dict and handle would hold each other until the garbage collector came
        hooks[self.key] = hook

    def remove(self):
        """Take the hook away; a second time, nothing is done."""
        self.hooks.pop(self.key, None)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.remove()
