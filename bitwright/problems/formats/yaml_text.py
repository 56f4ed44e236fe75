"""Safe YAML, read strictly: no key twice, keys that are text, and aliases that cannot blow up.

yaml is imported when a file is read: solving needs none.
"""

from __future__ import annotations

from typing import Any

from bitwright.problems.errors import InputError

_MERGE = "tag:yaml.org,2002:merge"
_MOST_REPEATED = 100_000
"""Values that aliases may repeat; a dozen lines of nested aliases can stand for billions."""


def parse_yaml(text: str, *, plain_text: bool = False) -> Any:
    """Parse YAML text; with `plain_text` every scalar is a string, exactly as it was written.

    Raises `InputError` with the line, for a key that is given twice or is no text, for aliases that
    repeat more than 100,000 values, and for what is no YAML.
    """
    import yaml

    loader = _plain_loader() if plain_text else _typed_loader()
    reader = None
    try:
        reader = loader(text)  # checks the characters
        node = reader.get_single_node()
        if node is None:
            return None
        _check(reader, node)
        return reader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        what = " ".join(str(getattr(error, "problem", error)).split())
        raise InputError(f"not valid YAML: {where}{what}") from None
    except RecursionError:
        raise InputError("nested too deeply") from None
    except InputError:
        raise
    except ValueError as error:  # such as a date with a thirteenth month
        raise InputError(f"not valid YAML: {error}") from None
    finally:
        if reader is not None:
            reader.dispose()


def _typed_loader() -> Any:
    import yaml

    return yaml.SafeLoader


def _plain_loader() -> Any:
    """Safe, but without the guesses of YAML 1.1, for which `6e9` is text and `1:30` is ninety."""
    import yaml
    from yaml.composer import Composer
    from yaml.constructor import SafeConstructor
    from yaml.parser import Parser
    from yaml.reader import Reader
    from yaml.resolver import BaseResolver
    from yaml.scanner import Scanner

    class Loader(Reader, Scanner, Parser, Composer, SafeConstructor, BaseResolver):
        def __init__(self, text: str) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)
            Composer.__init__(self)
            SafeConstructor.__init__(self)
            BaseResolver.__init__(self)

        def dispose(self) -> None:
            yaml.SafeLoader.dispose(self)

    return Loader


def _check(reader: Any, root: Any) -> None:
    """Refuse keys given twice or of other types than text, and too much behind aliases."""
    import yaml

    sizes: dict[int, int] = {}  # of a node and all below it, each as often as it is repeated

    def size(node: Any) -> int:
        if id(node) in sizes:
            if not sizes[id(node)]:
                raise InputError(f"line {node.start_mark.line + 1}: an alias stands inside itself")
            return sizes[id(node)]
        sizes[id(node)] = 0  # at work
        children: list[Any] = []
        if isinstance(node, yaml.MappingNode):
            _check_keys(reader, node)
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        sizes[id(node)] = 1 + sum(map(size, children))
        return sizes[id(node)]

    if size(root) > len(sizes) + _MOST_REPEATED:
        raise InputError(f"aliases repeat more than {_MOST_REPEATED:,} values")


def _check_keys(reader: Any, node: Any) -> None:
    found = set()
    for key_node, _ in node.value:
        if key_node.tag == _MERGE:
            continue
        key, line = reader.construct_object(key_node, deep=True), key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise InputError(f"line {line}: a key must be text, got {key!r}")
        if key in found:
            raise InputError(f"line {line}: key {key!r} is given twice")
        found.add(key)
