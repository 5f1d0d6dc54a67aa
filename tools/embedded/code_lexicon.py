"""Words of the small programs: what a value of each type can be called, and what functions do.

Types: `int`, `str`, `bool`, the lists `ints` and `strs`, and one type a record, such as `Order`. Nothing here is
random. A list's name is the plural of what it holds, so that the variable of a loop over it has an obvious name.
"""

from __future__ import annotations

NUMBERS = "count total limit size index offset width height price weight score rank level step depth age".split()
TEXTS = "name title label text key path line word message prefix".split()
FLAGS = "ready valid found open done active".split()
#: What a list holds, as `singular/plural`.
NUMBER_ITEMS = "value/values number/numbers price/prices score/scores weight/weights size/sizes".split()
TEXT_ITEMS = "item/items name/names word/words line/lines key/keys label/labels".split()
COUNTERS = "i j k".split()

#: A record's fields and their types; the variable is the record's name with a small letter.
RECORDS = {
    "Order": {"price": "int", "count": "int", "name": "str", "items": "strs"},
    "User": {"age": "int", "name": "str", "active": "bool", "scores": "ints"},
    "Node": {"value": "int", "depth": "int", "label": "str", "keys": "strs"},
    "Table": {"width": "int", "height": "int", "title": "str", "values": "ints"},
    "Queue": {"size": "int", "limit": "int", "open": "bool", "items": "strs"},
    "Parser": {"offset": "int", "line": "int", "text": "str", "words": "strs"},
}
#: The record that a method belongs to is one of these.
OWNERS = list(RECORDS)

#: What a function does, by the type of what it returns; "" returns nothing.
VERBS = {
    "int": "count find compute measure".split(),
    "str": "format join read render".split(),
    "bool": "is has check".split(),
    "ints": "load sort".split(),
    "strs": "split filter".split(),
    "": "update send store print".split(),
}
NOUNS = "order user node table queue total limit score name path line word value item".split()
#: The second word after `is` and `has`.
STATES = "ready valid open empty active".split()

NUMBERS_SEEN = "0 1 2 3 5 10 100".split()
STRINGS_SEEN = [
    "", "-", ",", ": ", "none", "ok", "error", "total: ", "not found", "too long", "a \\\"b\\\"", "end\\n",
]
FAILURES = ["no items", "bad value", "not ready", "too small", "missing name"]
COMMENTS = ["check the limit", "skip what is not valid", "the rest", "keep the best", "start again", "TODO: sort first"]

#: How a documentation string begins, by the verb.
PHRASES = {
    "count": "Counts the {}", "find": "Finds the {}", "compute": "Computes the {}", "measure": "Measures the {}",
    "format": "Formats the {}", "join": "Joins the {}", "read": "Reads the {}", "render": "Renders the {}",
    "is": "Whether it is {}", "has": "Whether it has {}", "check": "Checks the {}", "load": "Loads the {}",
    "sort": "Sorts the {}", "split": "Splits the {}", "filter": "Filters the {}", "update": "Updates the {}",
    "send": "Sends the {}", "store": "Stores the {}", "print": "Prints the {}",
}
