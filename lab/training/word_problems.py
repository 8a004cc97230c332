"""Synthetic word problems for training: two to five steps of arithmetic each, from templates.

`python -m lab.training.word_problems N SEED` prints N lines of {"id", "question", "answer", "subject"}. Every answer is
a whole number. The templates are this project's own; nothing is taken from an evaluation set.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator

Maker = Callable[[random.Random], tuple[str, int]]
_NAMES = ("Ada", "Ben", "Chloe", "Dmitri", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kira", "Liam", "Mona",
          "Nils", "Olga", "Pavel", "Rosa", "Sami", "Tara", "Umar", "Vera", "Wim", "Yara", "Zoe")  # fmt: skip
_GOODS = ("pencils", "apples", "stickers", "candles", "bolts", "cookies", "notebooks", "marbles", "tickets", "tiles")
_PLACES = ("a bakery", "a workshop", "a library", "a school", "a farm", "a post office", "a museum", "a hotel")


def shop(r: random.Random) -> tuple[str, int]:
    a, b = r.sample(_GOODS, 2)
    n, m, p, q = r.randint(2, 9), r.randint(2, 9), r.randint(2, 12), r.randint(2, 12)
    paid = n * p + m * q + r.randint(1, 30)
    return (
        f"{r.choice(_NAMES)} buys {n} {a} at ${p} each and {m} {b} at ${q} each and pays with ${paid}. "
        "How many dollars of change are due?",
        paid - n * p - m * q,
    )


def shares(r: random.Random) -> tuple[str, int]:
    x, y, z = r.sample(_NAMES, 3)
    base, more, times = r.randint(4, 30), r.randint(2, 15), r.randint(2, 4)
    return (
        f"{x} has {base} {r.choice(_GOODS)}. {y} has {more} more than {x}, and {z} has {times} times as many as {y}. "
        "How many do the three have together?",
        base + (base + more) + times * (base + more),
    )


def half_then(r: random.Random) -> tuple[str, int]:
    name, goods = r.choice(_NAMES), r.choice(_GOODS)
    start, given = 4 * r.randint(5, 40), r.randint(1, 9)
    return (
        f"{name} had {start} {goods}. {name} sold half of them on Monday, half of what was left on Tuesday, and gave "
        f"{given} away on Wednesday. How many {goods} are left?",
        start // 4 - given,
    )


def percent(r: random.Random) -> tuple[str, int]:
    price, off, n = 20 * r.randint(2, 20), r.choice((10, 15, 20, 25, 30, 40)), r.randint(2, 5)
    return (
        f"A coat costs ${price}. In a sale its price falls by {off}%. How many dollars do {n} such coats cost in the "
        "sale altogether?",
        n * price * (100 - off) // 100,
    )


def travel(r: random.Random) -> tuple[str, int]:
    v, w, t, s = 10 * r.randint(3, 9), 10 * r.randint(3, 9), r.randint(2, 5), r.randint(1, 4)
    return (
        f"A van drives {t} hours at {v} km/h, rests for {s} hours and then drives {s + 1} hours at {w} km/h. "
        "How many kilometres does it drive in all?",
        t * v + (s + 1) * w,
    )


def meet(r: random.Random) -> tuple[str, int]:
    v, w, t = r.randint(3, 15), r.randint(3, 15), r.randint(2, 8)
    x, y = r.sample(_NAMES, 2)
    return (
        f"{x} and {y} live {(v + w) * t} km apart and cycle towards each other, {x} at {v} km/h and {y} at {w} km/h. "
        "After how many hours do they meet?",
        t,
    )


def ages(r: random.Random) -> tuple[str, int]:
    x, y = r.sample(_NAMES, 2)
    young, times, later = r.randint(4, 14), r.randint(2, 5), r.randint(2, 12)
    return (
        f"{x} is {times} times as old as {y}, who is {young}. How old will {x} be when {y} is {young + later}?",
        times * young + later,
    )


def wages(r: random.Random) -> tuple[str, int]:
    rate, hours, extra = 2 * r.randint(5, 15), r.randint(30, 40), r.randint(2, 10)
    return (
        f"{r.choice(_NAMES)} earns ${rate} an hour for the first {hours} hours of a week and half as much again for "
        f"every hour beyond. How many dollars does a week of {hours + extra} hours bring?",
        rate * hours + extra * rate * 3 // 2,
    )


def boxes(r: random.Random) -> tuple[str, int]:
    per, full, rest, broken = r.randint(6, 24), r.randint(3, 15), r.randint(1, 5), r.randint(1, 5)
    goods = r.choice(_GOODS)
    return (
        f"{r.choice(_PLACES).capitalize()} gets {full} boxes of {per} {goods} and {rest + broken} loose ones. "
        f"{broken} are broken and thrown away. How many {goods} are left?",
        full * per + rest,
    )


def tank(r: random.Random) -> tuple[str, int]:
    into, out, t = r.randint(12, 40), r.randint(2, 10), r.randint(3, 15)
    return (
        f"A tank holds {(into - out) * t} litres and is empty. A tap lets in {into} litres a minute while {out} "
        "litres a minute leak out. After how many minutes is it full?",
        t,
    )


def savings(r: random.Random) -> tuple[str, int]:
    week, weeks, spent = r.randint(5, 25), r.randint(4, 20), r.randint(10, 40)
    have = r.randint(20, 60)
    return (
        f"{r.choice(_NAMES)} has ${have} and saves ${week} every week. After {weeks} weeks, ${spent} of it goes to a "
        "present and half of what remains into a bank. If the remainder is odd, the odd dollar stays at home. How many "
        "dollars go into the bank?",
        (have + week * weeks - spent) // 2,
    )


def classes(r: random.Random) -> tuple[str, int]:
    groups, size, absent, teams = r.randint(3, 8), r.randint(10, 24), r.randint(1, 9), r.choice((2, 3, 4, 5))
    total = groups * size - absent
    absent += total % teams
    return (
        f"A school has {groups} classes of {size} children. On sports day {absent} children are ill and the others "
        f"form {teams} equal teams. How many children are in each team?",
        (groups * size - absent) // teams,
    )


def garden(r: random.Random) -> tuple[str, int]:
    a, b, post = r.randint(4, 30), r.randint(4, 30), r.randint(2, 9)
    return (
        f"A rectangular garden is {a} metres long and {b} metres wide. A metre of fence costs ${post}. "
        f"How many dollars does a fence around it cost, if a gate of 2 metres needs no fence?",
        (2 * (a + b) - 2) * post,
    )


def recipe(r: random.Random) -> tuple[str, int]:
    people, eggs, k, price = r.choice((2, 3, 4)), r.randint(2, 6), r.randint(2, 6), r.randint(2, 5)
    return (
        f"A recipe for {people} people needs {eggs} eggs. {r.choice(_NAMES)} cooks for {people * k} people and pays "
        f"{price * 10} cents for each egg. How many cents do the eggs cost?",
        eggs * k * price * 10,
    )


def profit(r: random.Random) -> tuple[str, int]:
    n, cost, mark, unsold = r.randint(10, 40), r.randint(2, 9), r.randint(1, 8), r.randint(1, 8)
    return (
        f"{r.choice(_NAMES)} buys {n} {r.choice(_GOODS)} for ${cost} each and sells all but {unsold} of them for "
        f"${cost + mark + 3} each. What is the profit in dollars? Write a loss as a negative number.",
        (n - unsold) * (cost + mark + 3) - n * cost,
    )


def pages(r: random.Random) -> tuple[str, int]:
    first, more, days = r.randint(5, 20), r.randint(2, 6), r.randint(3, 6)
    read = sum(first + more * d for d in range(days))
    left = r.randint(10, 90)
    return (
        f"{r.choice(_NAMES)} reads {first} pages of a book of {read + left} pages on the first day and each day {more} "
        f"pages more than the day before. How many pages are left after {days} days?",
        left,
    )


def fraction(r: random.Random) -> tuple[str, int]:
    d = r.choice((3, 4, 5, 6))
    total, take = d * r.randint(4, 25), r.randint(2, 9)
    return (
        f"{r.choice(_PLACES).capitalize()} has {total} visitors in the morning. A "
        f"{('third', 'quarter', 'fifth', 'sixth')[d - 3]} "
        f"of them leave at noon and {take} others arrive. How many visitors are there then?",
        total - total // d + take,
    )


def machines(r: random.Random) -> tuple[str, int]:
    m, rate, h, more = r.randint(2, 6), r.randint(5, 20), r.randint(2, 8), r.randint(1, 4)
    return (
        f"{m} machines make {m * rate} parts an hour together, each as many as the others. "
        f"How many parts do {m + more} of them make in {h} hours?",
        (m + more) * rate * h,
    )


MAKERS: tuple[Maker, ...] = (
    shop, shares, half_then, percent, travel, meet, ages, wages, boxes, tank, savings, classes, garden, recipe, profit,
    pages, fraction, machines,
)  # fmt: skip


def word_problems(n: int, seed: int) -> Iterator[dict[str, str]]:
    """Generate `n` problems, round-robin over the templates; deterministic in `seed`."""
    for index in range(n):
        maker = MAKERS[index % len(MAKERS)]
        question, answer = maker(random.Random(f"{seed}/{index}"))
        yield {"id": f"words-{seed}-{index}", "question": question, "answer": str(answer), "subject": maker.__name__}


if __name__ == "__main__":
    for problem in word_problems(int(sys.argv[1]), int(sys.argv[2])):
        print(json.dumps(problem))
