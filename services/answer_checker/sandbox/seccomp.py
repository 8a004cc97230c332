"""seccomp: the system calls that `calls` lists, and no other one.

A call that is not listed fails with EPERM, as it does for a program without the right to it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from services.answer_checker.sandbox import kernel
from services.answer_checker.sandbox.calls import ALWAYS, WITH_A_FOLDER, Rule, conditional

_CLONE3 = 435
_AUDIT_ARCH = 0xC000003E, 0xC00000B7
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
# Classic BPF: load a word of struct seccomp_data, and with a mask; jump if equal; return.
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_X32_CALLS = 0x40000000


def load(*, may_write: bool) -> None:
    """Restrict this thread and all that it starts. Call it last. Raises OSError."""
    program = _program(os.getpid(), may_write=may_write)
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HL", len(program) // 8, ctypes.addressof(buffer))  # struct sock_fprog
    kernel.forbid_new_privileges()
    kernel.libc("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0)


def _program(pid: int, *, may_write: bool) -> bytes:
    column = kernel.machine_index()
    code = [
        _op(_LOAD, _ARCH_AT),
        _op(_EQUAL, _AUDIT_ARCH[column], 1, 0),
        _op(_RETURN, _KILL),
        _op(_LOAD, _NUMBER_AT),
        _op(_AT_LEAST, _X32_CALLS, 0, 1),
        _op(_RETURN, _KILL),
        _op(_EQUAL, _CLONE3, 0, 1),
        _op(
            _RETURN, _REFUSE | errno.ENOSYS
        ),  # its flags are in memory, where no filter reads: libc falls back to clone
    ]
    listed = ALWAYS | (WITH_A_FOLDER if may_write else {})
    for numbers in listed.values():
        number = numbers[column]
        if number is not None:
            code += [_op(_EQUAL, number, 0, 1), _op(_RETURN, _ALLOW)]
    for rule in conditional(pid, may_write=may_write):
        code += _conditional(rule, rule.numbers[column])
    code.append(_op(_RETURN, _REFUSE | errno.EPERM))
    return b"".join(code)


def _conditional(rule: Rule, number: int | None) -> list[bytes]:
    if number is None:
        return []
    body = []
    for condition in rule.conditions:
        body += [_op(_LOAD, _ARGUMENTS_AT + 8 * condition.argument), _op(_AND, condition.mask)]
        left = len(condition.values)
        body += [_op(_EQUAL, value, left - index, 0) for index, value in enumerate(condition.values)]
        body.append(_op(_RETURN, _REFUSE | errno.EPERM))
    body.append(_op(_RETURN, _ALLOW))
    return [_op(_EQUAL, number, 0, len(body)), *body]


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
