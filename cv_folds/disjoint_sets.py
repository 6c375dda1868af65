"""Which names belong together, when pairs of them do."""

from __future__ import annotations


class DisjointSets:
    """Sets of names that grow together; each is known by the first of its names."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def first(self, name: str) -> str:
        """Return the first, in alphabetical order, of the names that belong together with `name`."""
        root = name
        while (above := self._above.get(root, root)) != root:
            root = above
        # Shorter ways for the next time.
        while name != root:
            self._above[name], name = root, self._above[name]
        return root

    def join(self, one: str, other: str) -> None:
        """Put two names, and all that belong together with either, into one set."""
        first, second = sorted((self.first(one), self.first(other)))
        self._above[second] = first
