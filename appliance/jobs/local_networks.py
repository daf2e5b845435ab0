"""The declared local networks, for jobs and pages: ``is_local(connection, address)``.

They lie in ``db.local_networks``, for a sign-in asks too and the rooms of accounts and jobs stand side
by side.
"""

from appliance.db.local_networks import FACT, declared, is_local, of_the_box

__all__ = ["FACT", "declared", "is_local", "of_the_box"]
