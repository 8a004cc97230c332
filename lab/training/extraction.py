"""Synthetic extraction tasks: a text, a JSON schema, and the one object that the text holds.

`python -m lab.training.extraction N SEED` prints N lines of {"id", "question", "json_schema", "answer", "subject"}.
Texts and schemas are this project's own; nothing is taken from an evaluation set. Names, places and numbers are drawn,
phrases vary.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

from lab.training.schemas import boolean, choice, day, integer, listed, nullable, number, record, text

Schema = dict[str, Any]
Maker = Callable[[random.Random], tuple[str, Schema, dict[str, Any]]]
_PEOPLE = (
    "Ada Novak",
    "Ben Osei",
    "Chloe Martin",
    "Dmitri Petrov",
    "Elena Rossi",
    "Farid Haddad",
    "Grace Kim",
    "Hugo Silva",
    "Ines Moreau",
    "Jonas Weber",
    "Kira Tanaka",
    "Liam Murphy",
    "Mona Lund",
    "Nils Berg",
    "Olga Ivanova",
    "Rosa Diaz",
)
_FIRMS = ("Northwind Tools", "Blue Harbor Foods", "Alder & Sons", "Kestrel Optics", "Marlow Print", "Quarry Software",
          "Silverline Rail", "Tamarind Textiles", "Umbra Lighting", "Vela Robotics")  # fmt: skip
_CITIES = (
    ("Lyon", "France"),
    ("Leeds", "United Kingdom"),
    ("Porto", "Portugal"),
    ("Graz", "Austria"),
    ("Ghent", "Belgium"),
    ("Turin", "Italy"),
    ("Bergen", "Norway"),
    ("Brno", "Czechia"),
    ("Cork", "Ireland"),
    ("Malmo", "Sweden"),
)
_STREETS = ("Mill Road", "Station Street", "Orchard Lane", "Harbour Walk", "Castle Hill", "Elm Avenue")
_GOODS = (
    "desk lamp",
    "office chair",
    "label printer",
    "steel shelf",
    "water filter",
    "cable drum",
    "hand drill",
    "wall clock",
)
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def _day(r: random.Random) -> date:
    return date(2025, 1, 6) + timedelta(days=r.randint(0, 700))


def _spoken(r: random.Random, d: date) -> str:
    month = _MONTHS[d.month - 1]
    return r.choice((f"{d.day} {month} {d.year}", f"{month} {d.day}, {d.year}", d.isoformat()))


def _money(r: random.Random, low: int, high: int) -> float:
    return r.randint(low * 20, high * 20) / 20


def _mail(name: str, host: str) -> str:
    first, last = name.lower().split()
    return f"{first[0]}.{last}@{host}.example"


def invoice(r: random.Random) -> tuple[str, Schema, dict[str, Any]]:
    goods = r.sample(_GOODS, r.randint(1, 3))
    lines: list[dict[str, Any]] = [
        {"item": g, "quantity": r.randint(1, 12), "unit_price": _money(r, 4, 90)} for g in goods
    ]
    total = round(sum(line["quantity"] * line["unit_price"] for line in lines), 2)
    issued = _day(r)
    due = issued + timedelta(days=r.choice((14, 30)))
    invoice_number, firm = f"{r.choice(('INV', 'RE', 'F'))}-{r.randint(1000, 9999)}", r.choice(_FIRMS)
    currency, sign = r.choice((("EUR", "EUR"), ("USD", "$"), ("GBP", "GBP")))
    rows = "\n".join(f"{line['quantity']} x {line['item']} at {sign} {line['unit_price']:.2f}" for line in lines)
    opening = r.choice((f"{firm} - Invoice {invoice_number}", f"Invoice no. {invoice_number}\nSeller: {firm}"))
    content = f"{opening}\nDate: {_spoken(r, issued)}\n{rows}\nTotal: {sign} {total:.2f}, payable by {_spoken(r, due)}."
    line = record(item=text(30), quantity=integer(), unit_price=number())
    schema = record(
        number=text(20), seller=text(40), issued=day(), due=day(), currency=choice("EUR", "USD", "GBP"),
        lines=listed(line, 5), total=number(),
    )  # fmt: skip
    answer = {
        "number": invoice_number,
        "seller": firm,
        "issued": issued.isoformat(),
        "due": due.isoformat(),
        "currency": currency,
        "lines": lines,
        "total": total,
    }
    return content, schema, answer


def meeting(r: random.Random) -> tuple[str, Schema, dict[str, Any]]:
    sender, *others = r.sample(_PEOPLE, r.randint(3, 4))
    when, hour, minutes = _day(r), r.randint(8, 17), r.choice((30, 45, 60, 90))
    topic, room = (
        r.choice(("the budget", "the release plan", "the audit", "the hiring plan")),
        r.choice("ABCDE") + str(r.randint(1, 9)),
    )
    is_online = r.random() < 0.4
    place = "We meet by video call" if is_online else f"We meet in room {room}"
    names = ", ".join(others[:-1]) + f" and {others[-1]}"
    content = (
        f"From: {sender} <{_mail(sender, 'corp')}>\nSubject: {topic.removeprefix('the ').capitalize()}\n\n"
        f"Hello {names},\n{r.choice(('let us talk', 'I would like to talk'))} about {topic} on {_spoken(r, when)} at "
        f"{hour:02}:00. "
        f"{place}; {r.choice(('please plan', 'it will take'))} {minutes} minutes.\nBest,\n{sender.split()[0]}"
    )
    schema = record(
        organizer_email=text(50), invited=listed(text(30), 6), date=day(), start=text(5, "24-hour time, HH:MM"),
        minutes=integer(), online=boolean(), room=nullable(text(10), "null for a call"),
    )  # fmt: skip
    answer = {
        "organizer_email": _mail(sender, "corp"), "invited": others, "date": when.isoformat(), "start": f"{hour:02}:00",
        "minutes": minutes, "online": is_online, "room": None if is_online else room,
    }  # fmt: skip
    return content, schema, answer


def job(r: random.Random) -> tuple[str, Schema, dict[str, Any]]:
    firm, (city, country) = r.choice(_FIRMS), r.choice(_CITIES)
    title = r.choice(
        ("Data engineer", "Warehouse manager", "Electrician", "Product designer", "Payroll clerk", "Site nurse")
    )
    low = 1000 * r.randint(28, 60)
    high, years = low + 1000 * r.randint(4, 15), r.randint(1, 7)
    skills = r.sample(
        ("Python", "SQL", "forklift licence", "CAD", "Excel", "first aid", "wiring", "Figma", "German"), 3
    )
    kind = r.choice(("full-time", "part-time", "contract"))
    content = (
        f"{title} ({kind}) at {firm}, {city}, {country}.\n"
        f"{r.choice(('You bring', 'We ask for'))} {years} {'year' if years == 1 else 'years'} of experience and: "
        f"{', '.join(skills)}. {r.choice(('We pay', 'The salary is'))} {low:,} to {high:,} EUR a year. "
        f"{r.choice(('Remote work is possible.', 'Remote work is not possible.'))}"
    )
    schema = record(
        title=text(40),
        company=text(40),
        city=text(30),
        country=text(30),
        type=choice("full-time", "part-time", "contract"),
        years_of_experience=integer(),
        skills=listed(text(30), 6),
        salary_min=integer(),
        salary_max=integer(),
        remote=boolean(),
    )
    answer = {
        "title": title, "company": firm, "city": city, "country": country, "type": kind, "years_of_experience": years,
        "skills": skills, "salary_min": low, "salary_max": high, "remote": "is possible" in content,
    }  # fmt: skip
    return content, schema, answer


def event(r: random.Random) -> tuple[str, Schema, dict[str, Any]]:
    name = (
        f"{r.choice(('Harbour', 'Winter', 'Old Town', 'River'))} "
        f"{r.choice(('Jazz Night', 'Book Fair', 'Run', 'Market'))}"
    )
    starts, length, (city, _) = _day(r), r.randint(1, 4), r.choice(_CITIES)
    ends, price = starts + timedelta(days=length - 1), r.choice((0, 0, _money(r, 5, 60)))
    span = f"on {_spoken(r, starts)}" if length == 1 else f"from {_spoken(r, starts)} to {_spoken(r, ends)}"
    seats = 10 * r.randint(5, 90)
    cost = f"Tickets cost {price:.2f} EUR" if price else "Admission is free"
    content = (
        f"The {name} comes to {city} {span}. There is room for {seats} guests. {cost}. Host: "
        f"{(host := r.choice(_PEOPLE))}."
    )
    schema = record(
        name=text(40, "without an article"), city=text(30), first_day=day(), last_day=day(), capacity=integer(),
        price_eur=number("0 where it is free"), host=text(40),
    )  # fmt: skip
    answer = {
        "name": name, "city": city, "first_day": starts.isoformat(), "last_day": ends.isoformat(), "capacity": seats,
        "price_eur": price, "host": host,
    }  # fmt: skip
    return content, schema, answer


def address(r: random.Random) -> tuple[str, Schema, dict[str, Any]]:
    name, (city, country) = r.choice(_PEOPLE), r.choice(_CITIES)
    street, house, code = (
        r.choice(_STREETS),
        str(r.randint(1, 180)) + r.choice(("", "", "b")),
        str(r.randint(10000, 99999)),
    )
    phone = f"+{r.randint(31, 49)} {r.randint(100, 999)} {r.randint(10000, 99999)}"
    content = r.choice((
        f"Please send it to {name}, {house} {street}, {code} {city}, {country}. If nobody opens, call {phone}.",
        f"New customer: {name}. Phone {phone}. Lives in {city} ({country}), {street} {house}, postal code {code}.",
    ))  # fmt: skip
    schema = record(
        name=text(40), street=text(40), house_number=text(6), postal_code=text(8), city=text(30), country=text(30),
        phone=text(20),
    )  # fmt: skip
    answer = {
        "name": name, "street": street, "house_number": house, "postal_code": code, "city": city, "country": country,
        "phone": phone,
    }  # fmt: skip
    return content, schema, answer


def ticket(r: random.Random) -> tuple[str, Schema, dict[str, Any]]:
    who, order, item = r.choice(_PEOPLE), r.randint(100000, 999999), r.choice(_GOODS)
    problem, said = r.choice(
        (
            ("damaged", "arrived with a crack"),
            ("late", "has still not arrived"),
            ("wrong_item", "is not what I ordered"),
        )
    )
    wish, asked = r.choice((("refund", "I want my money back"), ("replacement", "please send me another one")))
    priority, tone = r.choice(
        (("high", "This is urgent: I need an answer today."), ("low", "There is no hurry."), ("normal", ""))
    )
    bought = _day(r)
    content = (
        f"{r.choice(('Hi', 'Good morning'))}, the {item} of order {order}, which I bought on {_spoken(r, bought)}, "
        f"{said}. {asked.capitalize() if asked[0] == 'p' else asked}. {tone} {who}, {_mail(who, 'post')}"
    )
    schema = record(
        customer=text(40), email=text(50), order=integer(), product=text(30), bought=day(),
        problem=choice("damaged", "late", "wrong_item"), wish=choice("refund", "replacement"),
        priority=choice("low", "normal", "high"),
    )  # fmt: skip
    answer = {
        "customer": who, "email": _mail(who, "post"), "order": order, "product": item, "bought": bought.isoformat(),
        "problem": problem, "wish": wish, "priority": priority,
    }  # fmt: skip
    return content, schema, answer


def journey(r: random.Random) -> tuple[str, Schema, dict[str, Any]]:
    cities = [city for city, _ in r.sample(_CITIES, 3)]
    code, who, when = "".join(r.choices("ABCDEFGHJKLMNPRST", k=6)), r.choice(_PEOPLE), _day(r)
    hours = sorted(r.sample(range(6, 22), 2))
    legs = [
        {
            "from": a,
            "to": b,
            "departure": f"{hour:02}:{r.choice((5, 20, 35, 50)):02}",
            "train": f"{r.choice(('IC', 'RE'))} {r.randint(100, 999)}",
        }
        for (a, b), hour in zip(itertools.pairwise(cities), hours, strict=True)
    ]
    rows = "\n".join(f"{leg['train']} {leg['from']} - {leg['to']}, dep. {leg['departure']}" for leg in legs)
    price = _money(r, 20, 180)
    content = (
        f"Booking {code} for {who}, {_spoken(r, when)}\n{rows}\nPaid: {price:.2f} EUR. Seat reservation: "
        f"{(seat := r.choice(('yes', 'no')))}."
    )
    leg = record(**{"from": text(30), "to": text(30), "departure": text(5), "train": text(10)})
    schema = record(
        booking=text(10),
        passenger=text(40),
        date=day(),
        legs=listed(leg, 4),
        price_eur=number(),
        seat_reserved=boolean(),
    )
    answer = {
        "booking": code,
        "passenger": who,
        "date": when.isoformat(),
        "legs": legs,
        "price_eur": price,
        "seat_reserved": seat == "yes",
    }
    return content, schema, answer


def listing(r: random.Random) -> tuple[str, Schema, dict[str, Any]]:
    rooms, size, floor = r.randint(1, 5), r.randint(28, 140), r.randint(0, 6)
    rent, extra, (city, _) = 10 * r.randint(45, 190), 10 * r.randint(6, 25), r.choice(_CITIES)
    free, has_lift, pets = _day(r), r.random() < 0.5, r.random() < 0.5
    where = "on the ground floor" if floor == 0 else f"on floor {floor}"
    content = (
        f"{city}, {r.choice(_STREETS)}: flat with {rooms} {'room' if rooms == 1 else 'rooms'} and {size} square "
        f"metres {where}, "
        f"{'with a lift' if has_lift else 'no lift'}. Rent {rent} EUR plus {extra} EUR for heating and water. "
        f"Free from {_spoken(r, free)}. {'Pets are welcome.' if pets else 'No pets, please.'}"
    )
    schema = record(
        city=text(30), rooms=integer(), square_metres=integer(), floor=integer("0 is the ground floor"), lift=boolean(),
        rent_eur=integer("without extras"), extras_eur=integer(), available=day(), pets=boolean(),
    )  # fmt: skip
    answer = {
        "city": city,
        "rooms": rooms,
        "square_metres": size,
        "floor": floor,
        "lift": has_lift,
        "rent_eur": rent,
        "extras_eur": extra,
        "available": free.isoformat(),
        "pets": pets,
    }
    return content, schema, answer


MAKERS: tuple[Maker, ...] = (invoice, meeting, job, event, address, ticket, journey, listing)


def extraction(n: int, seed: int) -> Iterator[dict[str, Any]]:
    """Generate `n` tasks, round-robin over the kinds of text; deterministic in `seed`."""
    for index in range(n):
        maker = MAKERS[index % len(MAKERS)]
        content, schema, answer = maker(random.Random(f"{seed}/{index}"))
        question = f"Extract the data of this {maker.__name__} from the text.\n\n{content}"
        yield {
            "id": f"extraction-{seed}-{index}", "question": question, "json_schema": schema, "answer": answer,
            "subject": maker.__name__,
        }  # fmt: skip


if __name__ == "__main__":
    for task in extraction(int(sys.argv[1]), int(sys.argv[2])):
        print(json.dumps(task))
