"""The list of erased users, as every part of Tally asks for it.

A user is on it before anything of theirs is deleted, and stays on it.
"""

LISTED = "raw.erased_users"

# Asked often, and the list itself only when this answers otherwise than before.
MARK = f"select count(), max(erased_at) from {LISTED}"
USERS = f"select distinct user_id from {LISTED}"
