"""How names and searched words are made comparable, as ``policy.plain_words`` says it for every room."""

from appliance.policy.plain_words import natural, normalise, normalise_name, split

__all__ = ["natural", "normalise", "normalise_name", "split"]
