"""Programs that are right, with tests and examples in every usual form: (answer, test, question), as in `wrong_programs`."""

from __future__ import annotations

_SQUARE = "def f(x):\n    return x * x"
_SORT = "def f(data):\n    data.sort()\n    return data"
_STUB = 'def f(x):\n    """{}"""\n'

_TESTS = {
    "assertions": (_SQUARE, "assert f(1) == 1\nassert f(3) == 9", ""),
    "an assertion with the value first": (_SQUARE, "assert 9 == f(3)", ""),
    "an assertion with a message": (_SQUARE, "assert f(3) == 9, 'not the square'", ""),
    "an assertion of a truth": ("def even(x):\n    return x % 2 == 0", "assert even(2)\nassert not even(3)", ""),
    "an assertion that it is not": (_SQUARE, "assert f(3) != 3", ""),
    "an assertion of membership": (_SQUARE, "assert f(3) in (8, 9)\nassert f(3) not in (3, 6)", ""),
    "an assertion of a type": (_SQUARE, "assert isinstance(f(3), int) and f(3) > 8", ""),
    "math without an import": ("import math\ndef f(x):\n    return math.sqrt(x)", "assert math.isclose(f(2), 1.41421356, rel_tol=1e-6)", ""),
    "math with an import": ("def f(x):\n    return x ** 0.5", "import math\nassert math.isclose(f(2), 1.41421356, rel_tol=1e-6)", ""),
    "a name from math": ("def f(x):\n    return x ** 0.5", "from math import isclose\nassert isclose(f(2), 1.41421356, rel_tol=1e-6)", ""),
    "a tolerance": ("def f(x):\n    return x ** 0.5", "assert abs(f(2) - 1.41421356) < 1e-6", ""),
    "a rounded value": ("def f(x):\n    return x ** 0.5", "assert round(f(2), 3) == 1.414", ""),
    "a function that checks": (_SQUARE, "def check(candidate):\n    assert candidate(3) == 9\n\n\ncheck(f)", ""),
    "a loop": (_SQUARE, "for x in range(10):\n    assert f(x) == x ** 2", ""),
    "a loop over items, once over none": ("def f(n):\n    return list(range(1, n + 1))", "for n in range(4):\n    for x in f(n):\n        assert x > 0\n    assert all(x <= n for x in f(n))", ""),
    "cases in a list": (_SQUARE, "cases = [(1, 1), (3, 9)]\nassert all(f(x) == y for x, y in cases)", ""),
    "an exception": ("def f(x):\n    if x < 0:\n        raise ValueError('no')\n    return x", "try:\n    f(-1)\n    assert False\nexcept ValueError:\n    pass", ""),
    "an exception with else": ("def f(x):\n    raise ValueError('no')", "try:\n    f(-1)\nexcept ValueError:\n    pass\nelse:\n    raise RuntimeError('it raised nothing')", ""),
    "an exception of a class of its own": ("class Bad(ValueError):\n    pass\ndef f(x):\n    raise Bad('no')", "try:\n    f(-1)\n    assert False\nexcept ValueError as error:\n    assert str(error) == 'no'", ""),
    "unittest": (_SQUARE, "import unittest\nt = unittest.TestCase()\nt.assertEqual(f(3), 9)\nwith t.assertRaises(TypeError):\n    f('a')", ""),
    "JSON": ("import json\ndef f(x):\n    return json.dumps({'x': x})", "import json\nassert json.loads(f(3)) == {'x': 3}", ""),
    "statements before": (_SQUARE, "x = 3\nx += 1\nvalues = []\nvalues.append(f(x))\nassert values == [16]", ""),
    "two functions that the question names": ("def enc(s):\n    return s[::-1]\ndef dec(s):\n    return s[::-1]", "assert enc('ab') == 'ba'\nassert dec(enc('abc')) == 'abc'", "Write enc(s) and dec(s)."),
    "a function of the name of a module": ("def bisect(xs, x):\n    return sum(y < x for y in xs)", "assert bisect([1, 2, 3], 3) == 2", ""),
    "a helper of the prompt": ("def f(x):\n    return x / 2", "assert close(f(1), 0.5)", "def close(a, b):\n    return abs(a - b) < 0.1\n\ndef f(x):\n    ..."),
    "two functions without a body": ("def g(x):\n    return 2 * x\ndef f(x):\n    return g(x) + 1", "assert g(2) == 4\nassert f(2) == 5", "def g(x):\n    ...\n\ndef f(x):\n    ..."),
    "an exception of the prompt": ("class Bad(Exception):\n    pass\ndef f(x):\n    raise Bad('no')", "try:\n    f(1)\n    assert False\nexcept Bad:\n    pass", "class Bad(Exception):\n    pass\n\ndef f(x):\n    ..."),
    "assertions in the prompt": (_SQUARE, "", "def f(x):\n    ...\n\nassert f(3) == 9\nassert f(4) == 16"),
}  # fmt: skip

_VALUES = {
    "sorts in place": ("def f(data):\n    data.sort()", "data = [3, 1, 2]\nf(data)\nassert data == [1, 2, 3]", ""),
    "sorts in place in a function": ("def f(data):\n    data.sort()", "def check(g):\n    data = [3, 1, 2]\n    assert g(data) is None\n    assert data == [1, 2, 3]\ncheck(f)", ""),
    "sorts in place and returns it": (_SORT, "data = [3, 1, 2]\nassert f(data) == sorted(data)", ""),
    "sorts in place what is asked for": (_SORT, "assert f([3, 1, 2]) == [1, 2, 3]\nassert f(['b', 'a']) == ['a', 'b']", ""),
    "empties a list": ("def f(data):\n    data.clear()", "data = [1]\nf(data)\nassert data == []", ""),
    "changes a dict by a keyword": ("def f(d):\n    d['x'] = 1", "d = {}\nf(d=d)\nassert d == {'x': 1}", ""),
    "a generator": ("def f(n):\n    yield from range(n)", "assert list(f(3)) == [0, 1, 2]\nassert sum(f(4)) == 6", ""),
    "an endless generator": ("def f():\n    n = 0\n    while True:\n        yield n\n        n += 1", "from itertools import islice\nassert list(islice(f(), 4)) == [0, 1, 2, 3]", ""),
    "keys": ("def f(d):\n    return d.keys()", "assert set(f({1: 2})) == {1}\nassert f({1: 2}) == {1}", ""),
    "nan": ("def f():\n    return float('nan')", "import math\nassert math.isnan(f())", ""),
    "fractions": ("from fractions import Fraction\ndef f(x):\n    return Fraction(x, 2)", "from fractions import Fraction\nassert f(1) == Fraction(1, 2)", ""),
    "a Counter": ("from collections import Counter\ndef f(s):\n    return Counter(s)", "from collections import Counter\nassert f('aab') == Counter(a=2, b=1)", ""),
    "dates": ("import datetime\ndef f(d):\n    return d + datetime.timedelta(days=1)", "import datetime\nassert f(datetime.date(2026, 1, 31)) == datetime.date(2026, 2, 1)", ""),
}  # fmt: skip

_SESSIONS = {
    "a session": (_SQUARE, ">>> f(3)\n9\n>>> f(0.5)\n0.25", ""),
    "a session that prints": ("def f(n):\n    for i in range(n):\n        print('  ' * i + '*')", "", 'def f(n):\n    """\n    >>> f(2)\n    *\n      *\n    """\n'),
    "a session that prints the value": (_SQUARE, "", _STUB.format("\n    >>> print(f(3))\n    9\n    ")),
    "a session over several lines": (_SQUARE, ">>> for x in range(2):\n...     y = f(x)\n...     print(y)\n...\n0\n1", ""),
    "a session with an exception": (_SQUARE, ">>> f(3)\n9\n>>> f('a')\nTraceback (most recent call last):\n    ...\nTypeError: no", ""),
    "a session that leaves out True": (_SQUARE, ">>> f(3) == 9", ""),
    "a session that shows None": ("def f(x):\n    return x or None", "", _STUB.format("\n    >>> f(0)\n    None\n    >>> f(4)\n    4\n    ")),
    "a session with another spacing": ("def f(x):\n    return [x, {'a': x}]", ">>> f(1)\n[1,{'a':1}]", ""),
    "a session with a rounded float": ("def f(x):\n    return x ** 0.5", ">>> f(2)\n1.41421356", ""),
    "a session with doctest's flags": ("def f(n):\n    return list(range(n))", ">>> print(f(9))  # doctest: +ELLIPSIS\n[0, 1, ..., 8]", ""),
    "a session with an object": ("class Node:\n    def __repr__(self):\n        return 'Node(3)'\ndef f():\n    return Node()", ">>> f()\nNode(3)\n>>> print(f())\nNode(3)", ""),
    "calls in a text": (_SQUARE, "", _STUB.format("f(3) == 9, and f(-2) => 4.")),
    "assertions in a text": (_SQUARE, "", "Write a function for the square.\nassert f(3) == 9\nassert f(-2) == 4"),
    "float noise": ("def f(x):\n    return 0.1 + 0.2", "", _STUB.format("f(1) == 0.3")),
}  # fmt: skip

RIGHT_PROGRAMS = {**_TESTS, **_VALUES, **_SESSIONS}
