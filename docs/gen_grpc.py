"""The gRPC reference as Markdown, from the comments in protos/tandem/v1: `python docs/gen_grpc.py` prints it.

protoc parses the files, so the page shows exactly what the contract says. docs/hooks.py adds it to the site.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "protos" / "tandem" / "v1"
# The public contract first, then what the workflow's activities call.
ORDER = ("tandem.proto", "batch.proto", "insight.proto", "execution.proto", "checking.proto")
_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6  # field numbers in FileDescriptorProto, which source paths begin with
_FIELDS, _VALUES, _METHODS = 2, 2, 2
_SYNTAX = 12


class Comments:
    """Leading comments of one file, by the path of the element that they stand before."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._by_path = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}

    def __call__(self, *path: int) -> str:
        return " ".join(self._by_path.get(path, "").split())


def parse(folder: Path = FOLDER) -> list[FileDescriptorProto]:
    """The files of `folder` with their comments. Raises RuntimeError where protoc refuses one."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "all.pb"
        files = sorted(str(file) for file in folder.glob("*.proto"))
        arguments = [f"-I{folder.parents[1]}", "--include_source_info", f"--descriptor_set_out={out}", *files]
        if protoc.main(["protoc", *arguments]):
            raise RuntimeError(f"protoc refuses a file in {folder}")
        parsed = FileDescriptorSet.FromString(out.read_bytes()).file
    return sorted(parsed, key=lambda file: ORDER.index(Path(file.name).name))


def render(files: list[FileDescriptorProto]) -> str:
    """One Markdown page: each file's services, messages and enums, with a link from each type to its definition."""
    lines = [
        "# gRPC API",
        "",
        "Made from the comments in `protos/tandem/v1`. Any gRPC client works; the servers have reflection and",
        "`grpc.health.v1`. The sufficiency scorer speaks the Open Inference Protocol v2 instead (see",
        "[Architecture](../architecture.md#the-processes)).",
        "",
    ]
    for file in files:
        comments = Comments(file)
        lines += [f"## {Path(file.name).name}", "", comments(_SYNTAX), ""]
        for index, service in enumerate(file.service):
            lines += _service(service, comments, (_SERVICES, index))
        for index, message in enumerate(file.message_type):
            lines += _message(message, comments, (_MESSAGES, index))
        for index, enum in enumerate(file.enum_type):
            lines += _enum(enum, comments, (_ENUMS, index))
    return "\n".join(lines) + "\n"


def _service(service: ServiceDescriptorProto, comments: Comments, path: tuple[int, int]) -> Iterator[str]:
    yield from (
        f"### service {service.name}",
        "",
        comments(*path),
        "",
        "| rpc | request | response | |",
        "|---|---|---|---|",
    )
    for index, method in enumerate(service.method):
        reply = ("stream " if method.server_streaming else "") + _link(method.output_type)
        yield f"| `{method.name}` | {_link(method.input_type)} | {reply} | {_cell(comments(*path, _METHODS, index))} |"
    yield ""


def _message(message: DescriptorProto, comments: Comments, path: tuple[int, int]) -> Iterator[str]:
    yield from (f"### {message.name}", "", comments(*path), "")
    if not message.field:
        yield from ("No fields.", "")
        return
    yield from ("| field | type | number | |", "|---|---|---|---|")
    maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    for index, field in enumerate(message.field):
        text = _cell(comments(*path, _FIELDS, index))
        yield f"| `{field.name}` | {_type(field, message, maps)} | {field.number} | {text} |"
    yield ""


def _enum(enum: EnumDescriptorProto, comments: Comments, path: tuple[int, int]) -> Iterator[str]:
    yield from (f"### {enum.name}", "", comments(*path), "", "| value | number | |", "|---|---|---|")
    for index, value in enumerate(enum.value):
        yield f"| `{value.name}` | {value.number} | {_cell(comments(*path, _VALUES, index))} |"
    yield ""


def _type(field: FieldDescriptorProto, message: DescriptorProto, maps: dict[str, DescriptorProto]) -> str:
    entry = maps.get(field.type_name.rpartition(".")[2])
    if entry:
        key, value = (_name(each) for each in entry.field)
        return f"map&lt;{key}, {value}&gt;"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {_name(field)}"
    if field.proto3_optional:
        return f"optional {_name(field)}"
    if field.HasField("oneof_index"):
        return f"{_name(field)} (one of `{message.oneof_decl[field.oneof_index].name}`)"
    return _name(field)


def _name(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return _link(field.type_name)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _link(type_name: str) -> str:
    short = type_name.rpartition(".")[2]
    return f"[{short}](#{short.lower()})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.stdout.write(render(parse()))
