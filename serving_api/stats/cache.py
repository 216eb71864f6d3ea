"""What each user was answered last: fresh for a while, and known for as long as there is room.

An entry belongs to one user and one question (which names the date and the definition), so nothing
is ever shared between users or definitions.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import islice

from serving_api.stats.repository import Question, Reading

# About 3 KiB an answer.
MAX_USERS = 20_000
# `as_of` can be any date: one user's dates must not push out other users.
MAX_QUESTIONS_OF_A_USER = 8


@dataclass(slots=True)
class Entry:
    """A reading and until when, on the clock of the cache's owner, it may be given as fresh."""

    reading: Reading
    fresh_until: float
    """Minus infinity once events of the user have arrived."""
    read_at: float = float("-inf")
    """When it was read from the warehouse, on the same clock."""
    asked_at: float = float("-inf")
    """When it was last given to somebody, on the same clock."""
    bodies: dict[object, bytes] = field(default_factory=dict)
    """The answers that were rendered from it, by what makes them differ."""


class StatsCache:
    """Entries by user and question; the user who was asked for longest ago leaves first."""

    def __init__(self, max_users: int = MAX_USERS) -> None:
        self._max_users = max_users
        self._users: OrderedDict[int, OrderedDict[Question, Entry]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._users)

    def find(self, user_id: int, question: Question) -> Entry | None:
        """The entry, fresh or not."""
        questions = self._users.get(user_id)
        return None if questions is None else questions.get(question)

    def latest(self, count: int) -> list[int]:
        """So many of the users, who was asked for last first."""
        return list(islice(reversed(self._users), count))

    def note_use(self, user_id: int) -> None:
        """Somebody asks for this user."""
        if user_id in self._users:
            self._users.move_to_end(user_id)

    def keep(self, user_id: int, question: Question, entry: Entry) -> None:
        """Keep an entry, in place of the one before it."""
        questions = self._users.setdefault(user_id, OrderedDict())
        questions[question] = entry
        questions.move_to_end(question)
        if len(questions) > MAX_QUESTIONS_OF_A_USER:
            questions.popitem(last=False)
        if len(self._users) > self._max_users:
            self._users.popitem(last=False)

    def drop(self, users: Collection[int]) -> None:
        """Keep nothing of these users."""
        for user_id in users:
            self._users.pop(user_id, None)

    def expire(self, users: Collection[int] | None) -> None:
        """Nothing known of these users is fresh any more; None is everyone."""
        for user_id in self._users if users is None else users:
            for entry in self._users.get(user_id, {}).values():
                entry.fresh_until = float("-inf")
