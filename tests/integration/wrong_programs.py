"""Programs that are wrong, each with a test that it tries to pass all the same: by force, by a gap of the comparison, or by luck.

A case is the answer, the test that a caller sends (empty: the examples of the question), and the question. Most are asked for
squares and do what the first example says.
"""

from __future__ import annotations

SQUARES = "assert f(1) == 1\nassert f(3) == 9"
_MATH = "assert f(1) == 1\nassert math.isclose(f(2), 1.41421356)"
_ONE = "def f(x):\n    return 1"
_SORTED = "data = [3, 1, 2]\nassert f(data) == sorted(data)"
_PROMPT = 'import math\n\n\ndef f(x):\n    """The root of x.\n\n    >>> f(1)\n    1\n    >>> math.isclose(f(2), 1.41421356)\n    True\n    """\n'
_HELPER = "def close(a, b):\n    return abs(a - b) < 0.001\n\n\ndef f(x):\n    ...\n"
_OBJECT = "class Odd:\n    {}\n\ndef f(x):\n    return 1 if x == 1 else Odd()"

_NAMES = {
    "math of the answer": ("import math\n" + _ONE, _MATH, ""),
    "math of the prompt": ("import math\n" + _ONE, "", _PROMPT),
    "math is an object that agrees": ("class math:\n    isclose = lambda *a, **k: True\n" + _ONE, _MATH, ""),
    "math is a function": ("def math(*a):\n    return True\nmath.isclose = math\n" + _ONE, _MATH, ""),
    "math in sys.modules": ("import sys, math\nmath.isclose = lambda *a, **k: True\nsys.modules['math'] = math\n" + _ONE, "import math\n" + _MATH, ""),
    "isclose of the answer": ("def isclose(a, b):\n    return True\n" + _ONE, "assert isclose(f(2), 1.41421356)", ""),
    "isclose without the import": ("def isclose(a, b):\n    return True\n" + _ONE, "assert f(1) == 1\nassert isclose(f(2), 1.41421356)", "Write f(x)."),
    "the expected value of the answer": ("def root(x):\n    return 1\n" + _ONE, "assert f(2) == root(2)", "Write f(x)."),
    "expected by a class of the answer": ("class Counter(int):\n    def __new__(cls, s):\n        return 0\ndef f(s):\n    return 0", "assert f('aab') == Counter('aab')", ""),
    "a constant of the answer": ("EXPECTED = 1\n" + _ONE, "assert f(2) == EXPECTED", ""),
    "a helper of the prompt": ("def close(a, b):\n    return True\n" + _ONE, "assert close(f(2), 1.414)", _HELPER),
    "a helper of a prompt that does not run": ("def close(a, b):\n    return True\n" + _ONE, "assert close(f(2), 1.414)", "import nowhere_at_all\n" + _HELPER),
    "a check of the answer": ("def check(candidate):\n    pass\n" + _ONE, "check(f)", ""),
    "a check of the answer that the question names": ("def check(candidate):\n    return True\n" + _ONE, "check(f)", "Write f. The test calls check(f)."),
    "__getattr__ of the module": (_ONE + "\ndef __getattr__(name):\n    return lambda *a, **k: True", "assert is_near(f(2), 1.414)", ""),
}  # fmt: skip

_VALUES = {
    "an object after one good example": (_OBJECT.format("pass"), "assert f(1) == 1\nassert f(2).real == 4", ""),
    "an object that equals everything": (_OBJECT.format("__eq__ = lambda *a: True"), SQUARES, ""),
    "an object that is unequal to everything": (_OBJECT.format("__ne__ = __eq__ = lambda *a: True"), "assert f(1) == 1\nassert not f(2) != 4", ""),
    "an object that is not 5": (_OBJECT.format("pass"), "assert f(1) == 1\nassert f(2) != 5 and f(2) > 3", ""),
    "an object that is only not equal": (_OBJECT.format("pass"), "assert not f(2) == 5", ""),
    "an object that is true": (_OBJECT.format("__bool__ = lambda self: True"), "assert f(1) == 1\nassert f(2)", ""),
    "an object that contains everything": (_OBJECT.format("__contains__ = lambda *a: True"), "assert f(1) == 1\nassert 4 in f(2)", ""),
    "an object of any length": (_OBJECT.format("__len__ = lambda self: 4"), "assert f(1) == 1\nassert len(f(2)) == 4", ""),
    "an object in a set": (_OBJECT.format("__hash__ = lambda self: hash(4)\n    __eq__ = lambda *a: True"), "assert f(1) == 1\nassert f(2) in {4}", ""),
    "an object whose use is caught": (_OBJECT.format("pass"), "assert f(1) == 1\ntry:\n    assert f(2).real == 4\nexcept AttributeError:\n    pass", ""),
    "an object whose use is caught by all": (_OBJECT.format("pass"), "assert f(1) == 1\ntry:\n    assert f(2).real == 4\nexcept:\n    pass", ""),
    "a string that equals everything": ("class S(str):\n    __eq__ = lambda *a: True\n    __hash__ = str.__hash__\ndef f(x):\n    return S('no')", "assert f(1) == 'yes'", ""),
    "an int that equals everything": ("class I(int):\n    __eq__ = lambda *a: True\n    __hash__ = int.__hash__\n    __index__ = lambda self: 4\ndef f(x):\n    return I(1)", SQUARES, ""),
    "a float with any repr": ("class F(float):\n    __repr__ = lambda self: '1.0'\n    __eq__ = lambda *a: True\ndef f(x):\n    return F(2)", SQUARES, ""),
    "a list that equals everything": ("class L(list):\n    __eq__ = lambda *a: True\n    __len__ = lambda self: 2\ndef f(x):\n    return L([9])", "assert f(1) == [1, 2]\nassert len(f(1)) == 2", ""),
    "a dict that has every key": ("class D(dict):\n    __missing__ = lambda self, key: 4\n    __eq__ = lambda *a: True\ndef f(x):\n    return D()", "assert f(1)[2] == 4", ""),
    "nan against a tolerance": ("def f(x):\n    return 1 if x == 1 else float('nan')", "assert f(1) == 1\nassert not abs(f(2) - 1.414) > 0.001", ""),
    "nan in a bound": ("def f(x):\n    return float('nan')", "assert not f(2) < 1 and not f(2) > 2", ""),
    "a generator for a list": ("def f(x):\n    yield from range(x)", "assert f(3) == [0, 1, 2]", ""),
    "keys for a list": ("def f(x):\n    return dict.fromkeys(range(x)).keys()", "assert f(3) == [0, 1, 2]", ""),
    "a generator with a state": ("calls = iter([1, 8])\ndef f(x):\n    return next(calls)", SQUARES, ""),
    "near zero": ("def f(x):\n    return 0", "", 'def f(x):\n    """f(3) == 0.0000001"""\n'),
    "off by one in a large float": ("def f(x):\n    return x + 1", "", 'def f(x):\n    """f(2000000.0) == 2000000.0"""\n'),
    "prints what it must return": ("def f(x):\n    print(x * x)", "", 'def f(x):\n    """\n    >>> f(3)\n    9\n    """\n'),
    "an object with the right repr": ("class N:\n    __repr__ = lambda self: '9'\ndef f(x):\n    return N()", ">>> f(3)\n9", ""),
}  # fmt: skip

_CHANGES = {
    "empties the argument": ("def f(data):\n    data.clear()\n    return []", _SORTED, ""),
    "empties the argument in a function": ("def f(data):\n    data.clear()\n    return []", "def check(g):\n    data = [3, 1, 2]\n    assert g(data) == sorted(data)\ncheck(f)", ""),
    "empties the argument in a loop": ("def f(data):\n    data.clear()\n    return []", "for data in ([2, 1], [3]):\n    assert f(data) == sorted(data)", ""),
    "empties the argument before the comparison": ("def f(data):\n    data.clear()\n    return []", "data = [3, 1, 2]\nout = f(data)\nassert out == sorted(data)", ""),
    "empties a keyword": ("def f(data):\n    data.clear()\n    return []", "data = [3, 1, 2]\nassert f(data=data) == sorted(data)", ""),
    "empties a dict": ("def f(d):\n    d.clear()\n    return {}", "d = {1: 2}\nassert f(d) == {v: k for k, v in d.items()}", ""),
    "fills a set": ("def f(s):\n    s.clear()\n    return 0", "s = {1, 2}\nassert f(s) == len(s)", ""),
    "changes an inner list": ("def f(grid):\n    grid[:] = [[]]\n    return 0", "grid = [[1, 2], [3, 4]]\nassert f(grid) == sum(map(sum, grid))", ""),
    "makes the argument its answer": ("def f(data):\n    data[:] = [7]\n    return 7", "data = [3, 1, 2]\nassert f(data) == max(data)", ""),
    "keeps the length of the argument": ("def f(data):\n    data[:] = [0] * len(data)\n    return 0", "data = [3, 1, 2]\nassert f(data) == sum(data) and len(data) == 3", ""),
    "changes in place what is sorted": ("def f(data):\n    data.clear()", "data = [2, 1]\nf(data)\nassert data == sorted(data)", ""),
    "changes a session's argument": ("def f(data):\n    data.clear()\n    return []", ">>> data = [3, 1, 2]\n>>> f(data) == sorted(data)\nTrue", ""),
    "changes the expected list": ("def f(x, y):\n    y[:] = [x]\n    return [x]", "expected = [4]\nassert f(2, expected) == expected", ""),
}  # fmt: skip

_PROOFS = {
    "a statement": ("def f(x):\n    return 0", "data = [1, 2]\ndata.append(4)", ""),
    "a statement that calls": ("def f(x):\n    return 0", "data = [1]\ndata.append(f(2))", ""),
    "a call": ("def f(x):\n    return 0", "f(2)", ""),
    "an assertion of something else": ("def f(x):\n    return 0", "f(2)\nassert 1 + 1 == 2", ""),
    "an assertion that is a tuple": ("def f(x):\n    return 0", "assert (f(2) == 4, 'is not 4')", ""),
    "an assertion of itself": ("def f(x):\n    return 0", "assert f(2) == f(2)", ""),
    "an assertion with or": ("def f(x):\n    return 0", "assert f(2) == 4 or True", ""),
    "an assertion that is handled": ("def f(x):\n    return 0", "try:\n    assert f(2) == 4\nexcept AssertionError:\n    pass", ""),
    "an empty loop": ("def f(x):\n    return 0", "for x in []:\n    assert f(x) == 4", ""),
    "a loop over what it returns": ("def f(x):\n    return []", "for x in range(0):\n    assert f(x)", ""),
    "a loop over no items": ("def f(n):\n    return []", "for x in f(3):\n    assert x > 0", ""),
    "a loop over as many items as there are": ("def f(n):\n    return []", "def check(g):\n    for a, b in zip(g(3), [1, 2, 3]):\n        assert a == b\n\ncheck(f)", ""),
    "all of no items": ("def f(n):\n    return []", "assert all(a == b for a, b in zip(f(3), [1, 2, 3]))", ""),
    "a condition": ("def f(x):\n    return 0", "if f(2) == 4:\n    pass", ""),
    "a length that is not negative": ("def f(x):\n    return ''", "assert len(f(2)) >= 0", ""),
    "an ellipsis for everything": ("def f(x):\n    return 0", ">>> print(f(2))  # doctest: +ELLIPSIS\n...", ""),
    "an ellipsis in a text": ("def f(s):\n    return s", "", 'def f(s):\n    """\n    >>> f("abcdefgh")\n    \'abc...\'\n    """\n'),
    "an ellipsis that is not flagged": ("def f(s):\n    print('Loading', s)", ">>> f('wrong')\nLoading...", ""),
    "spaces in a text": ("def f(s):\n    return s", "", 'def f(s):\n    """\n    >>> f("a  b")\n    \'a b\'\n    """\n'),
    "spaces that are shown": ("def f(n):\n    print('*')\n    print('***')", ">>> f(2)\n *\n***", ""),
    "another name": ("def g(x):\n    return x * x", "", 'def f(x):\n    """\n    >>> f(3)\n    Traceback (most recent call last):\n    AttributeError: no\n    """\n'),
    "the last of many assertions": (_ONE, "\n".join(["assert f(1) == 1"] * 150 + ["assert f(3) == 9"]), ""),
}  # fmt: skip

_FORCE = {
    "exit in a call that is expected to raise": ("import os\ndef f(x):\n    os._exit(0)", "try:\n    f(1)\n    assert False\nexcept Exception:\n    pass", ""),
    "exit in a call whose every end is handled": ("import os\ndef f(x):\n    os._exit(0)", "assert 1 == 1\ntry:\n    f(1)\n    assert False\nexcept:\n    pass", ""),
    "exit after one good example": ("import os\ndef f(x):\n    return 1 if x == 1 else os._exit(0)", SQUARES, ""),
    "sys.exit after one good example": ("import sys\ndef f(x):\n    return 1 if x == 1 else sys.exit(0)", SQUARES, ""),
    "exit while it loads": ("import os\nos._exit(0)", SQUARES, ""),
    "sys.exit while it loads": (_ONE + "\nimport sys\nsys.exit()", SQUARES, ""),
    "exit at the end": (_ONE + "\nimport atexit, os\natexit.register(os._exit, 0)\nraise SystemExit(0)", SQUARES, ""),
    "StopIteration ends the test's map": ("def f(x):\n    raise StopIteration", "assert all(map(lambda case: f(case[0]) == case[1], [(1, 1), (2, 4)]))", ""),
    "StopIteration ends the test's list": ("def f(x):\n    raise StopIteration", "assert list(map(f, [2, 3])) == [4, 9][:0] or f(1) == 1", ""),
    "AssertionError of the answer": ("def f(x):\n    raise AssertionError", "try:\n    assert f(2) == 4\nexcept AssertionError:\n    pass", ""),
    "builtins": ("import builtins\nfor name in ('all', 'any', 'abs', 'len', 'sorted', 'isinstance', 'AssertionError', 'sum'):\n    setattr(builtins, name, lambda *a, **k: True)\n" + _ONE, "assert all([f(1) == 1, f(3) == 9])", ""),
    "__builtins__": ("__builtins__ = {}\n" + _ONE, SQUARES, ""),
    "unittest": ("import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n" + _ONE, "import unittest\nt = unittest.TestCase()\nt.assertEqual(f(1), 1)\nt.assertEqual(f(3), 9)", ""),
    "the checker's modules": ("import sys\nfor name, module in list(sys.modules.items()):\n    if name.startswith(('services', 'tandem')):\n        for key in list(vars(module)):\n            if not key.startswith('__'):\n                setattr(module, key, lambda *a, **k: True)\n" + _ONE, SQUARES, ""),
    "verdicts to every descriptor": ("import json, os\nfor message in ({'said': 'holds', 'detail': ''}, {'judged': True}, {'own_measure': False, 'proofs': [0, 1]}):\n    body = json.dumps(message).encode()\n    for descriptor in range(3, 32):\n        try:\n            os.write(descriptor, len(body).to_bytes(4, 'big') + body)\n        except OSError:\n            pass\n" + _ONE, SQUARES, ""),
    "verdicts in frames": ("import sys\nframe = sys._getframe()\nwhile frame:\n    for value in list(frame.f_locals.values()):\n        if hasattr(value, 'send'):\n            for message in ({'value': None}, {'callable': ['f']}, {'said': 'holds'}, {'judged': True}, {'own_measure': False, 'proofs': [0, 1]}):\n                try:\n                    value.send(message)\n                except OSError:\n                    pass\n    frame = frame.f_back\n" + _ONE, SQUARES, ""),
    "values in frames": ("import sys\nframe = sys._getframe()\nwhile frame:\n    peer = frame.f_locals.get('peer', frame.f_locals.get('call'))\n    if hasattr(peer, 'send'):\n        for message in ({'value': None}, {'callable': ['f']}, {'value': ['opaque', 9]}, {'value': ['str', ['int', '0x9']]}, {'value': ['int', []]}):\n            peer.send(message)\n    frame = frame.f_back\n" + _ONE, SQUARES, ""),
    "a thread that answers": ("import gc, threading, time\nfrom services.answer_checker.sandbox.messages import Channel\ndef spam():\n    for found in gc.get_objects():\n        if isinstance(found, Channel):\n            for _ in range(50):\n                found.send({'value': True})\nthreading.Thread(target=spam).start()\n" + _ONE, SQUARES, ""),
    "what is expected, from memory": ("import gc, sys\ndef f(x):\n    for found in gc.get_objects():\n        if isinstance(found, dict) and 'expected' in found:\n            return found['expected']\n    return 1", "expected = 9\nassert f(3) == expected", ""),
    "what is expected, from files": ("import glob\ndef f(x):\n    for name in glob.glob('/proc/*/mem') + glob.glob('/proc/*/cmdline') + glob.glob('*'):\n        try:\n            if b'assert' in open(name, 'rb').read():\n                return 9\n        except OSError:\n            pass\n    return 1", SQUARES, ""),
    "printed results": ("print('ok', '2 passed', {'said': 'holds'})\ndef f(x):\n    print(9)\n    print('2 examples hold')", SQUARES, ""),
    "endless recursion": ("import sys\nsys.setrecursionlimit(1 << 30)\ndef f(x):\n    return f(x)", SQUARES, ""),
    "an endless loop": ("def f(x):\n    while x != 1:\n        pass\n    return 1", SQUARES, ""),
    "an endless loop at the end": ("def f(x):\n    return 1\nwhile True:\n    pass", SQUARES, ""),
    "an exception for every exception": ("class E(Exception):\n    pass\ndef f(x):\n    raise E('no')", "try:\n    f(-1)\n    assert False\nexcept ValueError:\n    pass", ""),
    "a value that cannot be read": ("import sys\nclass Odd:\n    def __repr__(self):\n        raise SystemExit\n    __str__ = __repr__\ndef f(x):\n    return 1 if x == 1 else Odd()", SQUARES, ""),
}  # fmt: skip

WRONG = {**_NAMES, **_VALUES, **_CHANGES, **_PROOFS, **_FORCE}
