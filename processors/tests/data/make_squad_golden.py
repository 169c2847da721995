"""Writes squad_golden.json: vectors for exact match and F1 as SQuAD v1.1 defines them.

This is a reimplementation, in Python because the definition leans on Python's own `str.lower`, `str.split`, `re` and
`string.punctuation`. F1 is written as a string, since not every JSON reader gives back the last bit.
Run: python3 make_squad_golden.py > squad_golden.json
"""
import json
import random
import re
import string
from collections import Counter


def normalized(answer):
    plain = "".join(c for c in answer.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def exact_match(prediction, gold):
    return float(normalized(prediction) == normalized(gold))


def f1(prediction, gold):
    said, wanted = Counter(normalized(prediction).split()), Counter(normalized(gold).split())
    common = sum((said & wanted).values())
    if common == 0:
        return 0.0
    precision, recall = common / sum(said.values()), common / sum(wanted.values())
    return (2 * precision * recall) / (precision + recall)


PIECES = [
    "a", "an", "the", "The", "AN", "cat", "Cat's", "re-do", "theatre", "308", "6½", "3.5%", "x_y", "U.S.", "—", "“the”",
    "the’s", "Straße", "İstanbul", "ΟΔΟΣ", "naïve", "na\u0308ive", "a\u0301", "日本", "the日本", "an½", "é", "a²", "\u00a0", "\u2003",
    "\u001c", "\u001fthe", "\u0085", "\u200b", "\t", "\n", "!", "...", "(an)", "[the]", "$5", "don't", "ﬁne", "Ⅳ", "ⓐ", "the\u0300",
    "हिन्दी", "the\u0903", "ǅ", "a_the", "_a_", "ـa", "ªa", "a\u00adn",
]


def cases():
    hand = [
        ("The Eiffel Tower", ["eiffel tower"]), ("", [""]), ("the", ["a"]), ("308", ["308 points", "308"]),
        ("b b b", ["b c"]), ("$5.00", ["5.00", "500"]), ("a-the-an", ["athean"]), ("  ", ["x"]),
    ]
    yield from hand
    rng = random.Random(11)
    for _ in range(600):
        pick = lambda: [rng.choice(PIECES) for _ in range(rng.randrange(0, 7))]
        gold = pick()
        kept = [piece for piece in gold if rng.random() < 0.7] + pick()[:rng.randrange(0, 3)]
        join = lambda pieces: "".join(piece + rng.choice([" ", " ", " ", ""]) for piece in pieces)
        yield join(kept), [join(gold)] + [join(pick()) for _ in range(rng.randrange(0, 3))]


rows = [
    {
        "prediction": prediction,
        "golds": golds,
        "normalized": normalized(prediction),
        "exact_match": max(exact_match(prediction, gold) for gold in golds),
        "f1": repr(max(f1(prediction, gold) for gold in golds)),
    }
    for prediction, golds in cases()
]
print("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")
