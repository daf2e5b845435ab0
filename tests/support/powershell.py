"""Runs scripts of the part of PowerShell that ``powershell_parser`` reads, against a simulated machine.

``Shell(machine, out, err, stdin).run(script)`` returns the exit code. The machine answers through
``machine.cmdlets(shell)``, ``machine.statics(shell)`` and ``machine.native(argv)``; see ``windows.py``.
What is unknown fails loudly, with exit code 1 and «is not simulated» on stderr.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from fnmatch import translate
from typing import Any
from xml.sax.saxutils import escape

from tests.support.powershell_parser import Node, NotUnderstood, Parser


class Thrown(Exception):
    """A terminating error."""


class Exit(Exception):
    """«exit N»."""


class Killed(BaseException):
    """The process was ended from outside."""


class _Jump(Exception):
    """«break», «continue», «return»."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Thing:
    """An object with properties (names in any case) and methods."""

    def __init__(
        self, kind: str, _methods: dict[str, Callable[..., Any]] | None = None, **properties: Any
    ) -> None:
        self.kind, self.properties = kind, dict(properties)
        self.methods = {name.lower(): each for name, each in (_methods or {}).items()}

    def get(self, name: str) -> Any:
        for own, value in self.properties.items():
            if own.lower() == name.lower():
                return value
        return None


class Table(dict[Any, Any]):
    """A hash table: keys in any case."""

    def find(self, name: Any) -> Any:
        wanted = str(name).lower()
        return next((value for key, value in self.items() if str(key).lower() == wanted), None)


class Type:
    def __init__(self, name: str) -> None:
        self.name = name.removeprefix("system.")


class Block:
    def __init__(self, body: list[Node]) -> None:
        self.body = body


class Shell:
    """One PowerShell process."""

    def __init__(
        self,
        machine: Any,
        out: Callable[[str], None],
        err: Callable[[str], None],
        stdin: Callable[[bool], str],
    ) -> None:
        self.machine, self.write_raw, self.err = machine, out, err
        self.stdin = stdin  # (whole) -> a line, or all of it
        self.scopes: list[dict[str, Any]] = [
            {"true": True, "false": False, "null": None, "erroractionpreference": "Continue",
             "progresspreference": "Continue", "lastexitcode": None, "?": True, "error": []}
        ]  # fmt: skip
        self.sinks: list[Callable[[Any], object]] = [self.write]
        self.functions: dict[str, tuple[list[str], list[Node]]] = {}
        self.cmdlets: dict[str, Callable[..., Any]] = {**_CMDLETS, **machine.cmdlets(self)}
        self.statics: dict[str, Any] = {**_STATICS, **machine.statics(self)}
        self.has_failed = False  # whether the CLIXML heading was written

    def run(self, text: str) -> int:
        """Run a script to its end and return the exit code."""
        try:
            self.body(Parser(text).script())
        except Exit as end:
            return int(end.args[0] or 0)
        except Thrown as thrown:
            self.report(str(thrown))
            return 1
        except _Jump:
            return 0
        except NotUnderstood as unknown:
            self.machine.not_simulated.append(str(unknown))
            self.report(f"this is not simulated: {unknown}")
            return 1
        return 0 if self.scopes[0]["?"] else 1

    def report(self, text: str) -> None:
        """Write an error as PowerShell does when it was started with -EncodedCommand: in CLIXML."""
        if not self.has_failed:
            self.err("#< CLIXML\r\n")
            self.has_failed = True
        said = escape(text).replace("\r", "").replace("\n", "_x000D__x000A_")
        space = "http://schemas.microsoft.com/powershell/2004/04"
        self.err(
            f'<Objs Version="1.1.0.1" xmlns="{space}"><S S="Error">{said}_x000D__x000A_</S></Objs>'
        )

    def write(self, value: Any) -> None:
        for text in shown(value):
            self.write_raw(f"{text}\r\n")

    def fail(self, text: str, named: dict[str, Any] | None = None) -> list[Any]:
        """A cmdlet's error: thrown, written or swallowed, as the preference says."""
        wish = str(
            (named or {}).get("erroraction") or self.variable("erroractionpreference")
        ).lower()
        self.scopes[0]["?"] = False
        if wish == "stop":
            raise Thrown(text)
        if wish not in ("silentlycontinue", "ignore"):
            self.report(text)
        return []

    # --- variables -------------------------------------------------------------------------

    def variable(self, name: str) -> Any:
        name = re.sub(r"^(script|global|local):", "", name)
        if name.startswith("env:"):
            return self.machine.environment.get(name[4:].upper())
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return None

    def put(self, name: str, value: Any) -> None:
        self.scopes[-1][re.sub(r"^(script|global|local):", "", name)] = value

    @contextmanager
    def scope(self, **variables: Any) -> Iterator[None]:
        self.scopes.append(variables)
        try:
            yield
        finally:
            self.scopes.pop()

    # --- statements: what they put out goes to the innermost sink at once ---------------------

    def emit(self, values: list[Any]) -> None:
        for value in values:
            self.sinks[-1](value)

    def collected(self, function: Callable[[Any], None], argument: Any) -> list[Any]:
        """What ``function(argument)`` puts out."""
        found: list[Any] = []
        self.sinks.append(found.append)
        try:
            function(argument)
        finally:
            self.sinks.pop()
        return found

    def got(self, node: Node) -> list[Any]:
        return self.collected(self.do, node)

    def got_all(self, statements: list[Node]) -> list[Any]:
        return self.collected(self.body, statements)

    def body(self, statements: list[Node]) -> None:
        for statement in statements:
            self.do(statement)

    def do(self, node: Node) -> None:
        kind = node[0]
        if kind == "pipeline":
            self.emit(self.pipeline(node[1]))
        elif kind == "assign":
            self.assign(node)
        elif kind == "if":
            for condition, block in node[1]:
                if true(one(self.got(condition))):
                    self.body(block)
                    return
            self.body(node[2] or [])
        elif kind == "foreach":
            self.loop(({node[1]: item} for item in many(one(self.got(node[2])))), node[3])
        elif kind == "while":
            self.loop(iter(lambda: {} if true(one(self.got(node[1]))) else None, None), node[2])
        elif kind == "try":
            self.attempt(node)
        elif kind == "throw":
            raise Thrown(text_of(one(self.got(node[1])) if node[1] else "ScriptHalted"))
        elif kind == "exit":
            raise Exit(number(one(self.got(node[1]))) if node[1] else 0)
        elif kind == "return":
            if node[1]:
                self.do(node[1])
            raise _Jump("return")
        elif kind in ("break", "continue"):
            raise _Jump(kind)
        elif kind == "function":
            self.functions[node[1]] = (node[2], node[3])
        elif kind != "param":
            raise NotUnderstood(kind)

    def loop(self, turns: Iterator[dict[str, Any]], block: list[Node]) -> None:
        for variables in turns:
            for name, value in variables.items():
                self.put(name, value)
            try:
                self.body(block)
            except _Jump as jump:
                if jump.kind == "break":
                    break
                if jump.kind == "return":
                    raise

    def attempt(self, node: Node) -> None:
        try:
            try:
                self.body(node[1])
            except Thrown as thrown:
                if node[2] is None:
                    raise
                record = Thing("ErrorRecord", Exception=Thing("Exception", Message=str(thrown)))
                record.text = str(thrown)  # type: ignore[attr-defined]
                before = self.scopes[-1].get("_")
                self.put("_", record)
                self.body(node[2])
                self.put("_", before)
        except Killed:
            raise  # the process is gone: no «finally»
        except BaseException:
            if node[3] is not None:
                self.body(node[3])
            raise
        if node[3] is not None:
            self.body(node[3])

    def assign(self, node: Node) -> None:
        _, target, operator, statement = node
        value = one(self.got(statement))
        if operator != "=":
            before = self.value(target)
            value = operate("+" if operator == "+=" else "-", before, value)
        if target[0] == "variable":
            self.put(target[1], value)
        elif target[0] in ("member", "static"):
            owner = self.value(target[1])
            name = text_of(self.value(target[2]))
            if isinstance(owner, Type):
                self.machine.set_static(owner.name, name.lower(), value)
            elif isinstance(owner, dict):
                owner[name] = value
            elif isinstance(owner, Thing):
                owner.properties[name] = value
        elif target[0] == "index":
            owner, key = self.value(target[1]), self.value(target[2])
            owner[key] = value
        else:
            raise NotUnderstood(f"assignment to {target[0]}")

    # --- pipelines and commands --------------------------------------------------------------

    def pipeline(self, elements: list[Node]) -> list[Any]:
        given: list[Any] | None = None
        for element in elements:
            if element[0] == "command":
                given = self.command(element, given)
            else:
                value = self.value(element)
                given = many(value) if element[:2] != ("cast", "void") else []
                self.scopes[0]["?"] = True
        return given or []

    def command(self, node: Node, given: list[Any] | None) -> list[Any]:
        _, name_node, words, redirected = node
        name = self.value(name_node)
        if isinstance(name, Block):
            with self.scope(args=[self.value(word) for word in words]):
                return self.returning(name.body)
        name = text_of(name)
        key = _ALIASES.get(name.lower(), name.lower())
        quiet = any(each in (">$null", "1>$null", "*>$null") for each in redirected)
        if key in self.functions:
            parameters, body = self.functions[key]
            named = self.bind(words, set(), parameters)
            with self.scope(**{each: named.get(each) for each in parameters}):
                return self.returning(body)
        if key in self.cmdlets:
            self.scopes[0]["?"] = True
            function = self.cmdlets[key]
            named = self.bind(
                words, getattr(function, "switches", set()), getattr(function, "order", [])
            )
            named["|"] = given
            out = many(function(self, named))
        else:
            out = self.native(name, words, given, redirected)
        return [] if quiet else out

    def returning(self, body: list[Node]) -> list[Any]:
        def whole(statements: list[Node]) -> None:
            try:
                self.body(statements)
            except _Jump as jump:
                if jump.kind != "return":
                    raise

        return self.collected(whole, body)

    def bind(self, words: list[Node], switches: set[str], order: list[str]) -> dict[str, Any]:
        named: dict[str, Any] = {}
        rest: list[Any] = []
        flags: list[str] = []
        pending = ""
        for word in words:
            if word[0] == "flag":
                if pending:
                    named[pending] = True
                pending = ""
                if word[1] in switches | _COMMON_SWITCHES:
                    named[word[1]] = True
                else:
                    pending = word[1]
                    flags.append(word[1])
            elif word[0] == "flag=":
                named[word[1]] = self.value(word[2])
            elif word[0] == "splat":
                named.update({str(k).lower(): v for k, v in self.variable(word[1]).items()})
            elif pending:
                named[pending] = self.value(word)
                pending = ""
            else:
                rest.append(self.value(word))
        if pending:
            named[pending] = True
        for name in order:
            if rest and name not in named:
                named[name] = rest.pop(0)
        named["rest"] = rest
        return named

    def native(
        self, name: str, words: list[Node], given: list[Any] | None, redirected: list[str]
    ) -> list[Any]:
        argv = [name]
        for word in words:
            if word[0] == "flag":
                argv.append(word[2])
            elif word[0] == "flag=":
                argv.append(f"-{word[1]}:{text_of(self.value(word[2]))}")
            else:
                argv += [text_of(each) for each in many(self.value(word))]
        stdin = "\r\n".join(text_of(each) for each in given or [])
        found = self.machine.native(argv, stdin)
        if found is None:
            self.scopes[0]["?"] = False
            raise Thrown(
                f"The term '{name}' is not recognized as the name of a cmdlet, function, script file, or "
                "operable program. Check the spelling of the name, or if a path was included, verify "
                "that the path is correct and try again."
            )
        code, out, err = found
        self.scopes[0]["lastexitcode"] = code
        self.scopes[0]["?"] = code == 0
        lines = out.splitlines()
        if "2>&1" in redirected:
            lines += err.splitlines()
        elif err and "2>$null" not in redirected and "*>$null" not in redirected:
            self.err(err)
        return list(lines)

    # --- expressions -----------------------------------------------------------------------

    def value(self, node: Node) -> Any:
        kind = node[0]
        if kind in ("string", "number"):
            return node[1]
        if kind == "concat":
            return "".join(joined(self.value(part)) for part in node[1])
        if kind == "variable":
            return self.variable(node[1])
        if kind in ("group", "sub"):
            return one(self.got(node[1]) if kind == "group" else self.got_all(node[1]))
        if kind == "collect":
            return self.got_all(node[1])
        if kind == "array":
            return [self.value(item) for item in node[1]]
        if kind == "table":
            return Table((self.value(key), one(self.got(value))) for key, value in node[1])
        if kind == "block":
            return Block(node[1])
        if kind == "type":
            return Type(node[1])
        if kind == "cast":
            return self.cast(node[1], self.value(node[2]))
        if kind == "unary":
            value = self.value(node[2])
            if node[1] in ("!", "-not"):
                return not true(value)
            if node[1] == "-join":
                return "".join(text_of(each) for each in many(value))
            return [value] if node[1] == "," else -number(value)
        if kind == "operator":
            return self.operator(node)
        if kind == "index":
            return index(self.value(node[1]), self.value(node[2]))
        if kind == "member":
            return self.member(self.value(node[1]), text_of(self.value(node[2])))
        if kind == "static":
            return self.static(self.value(node[1]), text_of(self.value(node[2])), None)
        arguments = [self.value(each) for each in node[3]] if kind.endswith("()") else []
        if kind == "member()":
            return self.call(self.value(node[1]), text_of(self.value(node[2])), arguments)
        if kind == "static()":
            return self.static(self.value(node[1]), text_of(self.value(node[2])), arguments)
        if kind in ("pipeline", "assign", "if"):
            return one(self.got(node))
        raise NotUnderstood(kind)

    def operator(self, node: Node) -> Any:
        _, sign, left, right = node
        if sign == "-and":
            return true(self.value(left)) and true(self.value(right))
        if sign == "-or":
            return true(self.value(left)) or true(self.value(right))
        a = self.value(left)
        if right[0] == "type":
            is_it = isinstance(a, _PYTHON.get(Type(right[1]).name, ()))
            return is_it if sign == "-is" else not is_it
        b = self.value(right)
        if sign in ("-match", "-notmatch", "-cmatch", "-imatch") and not isinstance(a, list):
            found = re.search(
                dotnet(text_of(b)), text_of(a), 0 if sign == "-cmatch" else re.IGNORECASE
            )
            if found:
                self.put(
                    "matches",
                    Table({0: found[0], **dict(enumerate(found.groups(), 1)), **found.groupdict()}),
                )
            return bool(found) != (sign == "-notmatch")
        return operate(sign, a, b)

    def cast(self, kind: str, value: Any) -> Any:
        kind = Type(kind).name
        match kind:
            case "int" | "int32" | "long" | "int64" | "uint64" | "uint32":
                try:
                    return (
                        round(float(text_of(value) or 0))
                        if not isinstance(value, bool)
                        else int(value)
                    )
                except ValueError:
                    raise Thrown(
                        f'Cannot convert value "{text_of(value)}" to type "System.Int32".'
                    ) from None
            case "double" | "float" | "decimal":
                return float(text_of(value) or 0)
            case "string":
                return text_of(value)
            case "bool" | "switch":
                return true(value)
            case "array" | "object[]" | "string[]":
                return many(value)
            case "void":
                return None
            case "pscustomobject":
                return Thing("PSCustomObject", **{str(key): each for key, each in value.items()})
            case "datetime":
                return (
                    value if isinstance(value, datetime) else datetime.fromisoformat(text_of(value))
                )
            case "wmiclass":
                return self.machine.wmi_class(self, text_of(value))
            case "version" | "guid" | "regex" | "xml" | "ordered" | "byte[]" | "char[]" | "char":
                return value
            case "security.principal.windowsprincipal":
                return self.machine.principal()
            case _:
                raise NotUnderstood(f"[{kind}]")

    def static(self, owner: Any, name: str, arguments: list[Any] | None) -> Any:
        if not isinstance(owner, Type):
            raise NotUnderstood(f"::{name}")
        key = f"{owner.name}::{name.lower()}"
        if key not in self.statics:
            raise NotUnderstood(f"[{owner.name}]::{name}")
        found = self.statics[key]
        return found(*arguments) if arguments is not None else found() if callable(found) else found

    def member(self, owner: Any, name: str) -> Any:
        low = name.lower()
        if owner is None:
            return None
        if isinstance(owner, Thing):
            return owner.get(name)
        if isinstance(owner, dict):
            found = owner.find(name) if isinstance(owner, Table) else owner.get(name)
            if found is None and low == "count":
                return len(owner)
            return list(owner) if found is None and low == "keys" else found
        if isinstance(owner, list | bytes):
            if low in ("count", "length"):
                return len(owner)
            return [each for item in owner for each in many(self.member(item, name))]
        if isinstance(owner, str) and low == "length":
            return len(owner)
        if isinstance(owner, datetime):
            if low == "ticks":
                whole = owner.replace(tzinfo=None) - datetime(1, 1, 1)  # noqa: DTZ001 - .NET's own
                return whole // timedelta(microseconds=1) * 10
            return owner if low == "date" else getattr(owner, low, None)
        if isinstance(owner, timedelta):
            return {"totalseconds": owner.total_seconds(), "totalhours": owner.total_seconds() / 3600,
                    "totaldays": owner.total_seconds() / 86_400}.get(low)  # fmt: skip
        return 1 if low in ("count", "length") else None

    def call(self, owner: Any, name: str, arguments: list[Any]) -> Any:
        low = name.lower()
        if isinstance(owner, list) and low not in ("contains", "gettype", "tostring"):
            return [self.call(item, name, arguments) for item in owner]
        if isinstance(owner, Thing) and low in owner.methods:
            return owner.methods[low](*arguments)
        if low == "tostring":
            return (
                formatted_date(owner, arguments[0])
                if isinstance(owner, datetime) and arguments
                else text_of(owner)
            )
        if isinstance(owner, str) and low in _STRINGS:
            return _STRINGS[low](owner, *arguments)
        if isinstance(owner, datetime) and low in _DATES:
            return _DATES[low](owner, *arguments)
        if isinstance(owner, dict) and low in ("containskey", "contains"):
            return str(arguments[0]).lower() in {str(key).lower() for key in owner}
        if isinstance(owner, list) and low == "contains":
            return arguments[0] in owner
        if owner is None:
            raise Thrown("You cannot call a method on a null-valued expression.")
        what = owner.kind if isinstance(owner, Thing) else type(owner).__name__
        raise Thrown(
            f"Method invocation failed because [{what}] does not contain a method named '{name}'."
        )


# --- values ----------------------------------------------------------------------------------


def many(value: Any) -> list[Any]:
    """What a pipeline makes of a value."""
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def one(values: list[Any]) -> Any:
    """What a variable makes of what a pipeline gave."""
    return None if not values else values[0] if len(values) == 1 else values


def true(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and (len(value) > 1 or true(value[0]))
    return bool(value) if isinstance(value, str | int | float) or value is None else True


def number(value: Any) -> int | float:
    if isinstance(value, bool | int | float):
        return value
    text = text_of(value).strip() or "0"
    return float(text) if "." in text else int(text)


def text_of(value: Any) -> str:
    """A value as a string makes of it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, list):
        return " ".join(text_of(each) for each in value)
    if isinstance(value, datetime):
        return value.strftime("%m/%d/%Y %H:%M:%S")
    if isinstance(value, Thing):
        return (
            getattr(value, "text", None)
            or "@{" + "; ".join(f"{k}={text_of(v)}" for k, v in value.properties.items()) + "}"
        )
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)


joined = text_of


def shown(value: Any) -> list[str]:
    """Lines a value is shown in; objects as a list of their properties (roughly: use ConvertTo-Json)."""
    if isinstance(value, Thing) and not hasattr(value, "text"):
        return ["", *(f"{key} : {text_of(each)}" for key, each in value.properties.items()), ""]
    if isinstance(value, dict):
        return [f"{key} {text_of(each)}" for key, each in value.items()]
    return [] if value is None else [text_of(value)]


def index(owner: Any, key: Any) -> Any:
    if isinstance(owner, Table):
        return owner[key] if key in owner else owner.find(key)
    if isinstance(owner, list | str | bytes):
        try:
            return [owner[int(each)] for each in key] if isinstance(key, list) else owner[int(key)]
        except IndexError:
            return None
    return owner if key in (0, -1) else None


def dotnet(pattern: str) -> str:
    return re.sub(r"\(\?<(\w+)>", r"(?P<\1>", pattern)


def operate(sign: str, a: Any, b: Any) -> Any:
    sign = sign.lower()
    plain = re.sub(
        r"^-[ci](?=(eq|ne|gt|ge|lt|le|like|notlike|match|notmatch|replace|contains|in|split)$)",
        "-",
        sign,
    )
    if plain in _COMPARE:
        if isinstance(a, list):
            return [each for each in a if _COMPARE[plain](*alike(each, b))]
        return _COMPARE[plain](*alike(a, b))
    match plain:
        case "+":
            if isinstance(a, list):
                return a + many(b)
            if isinstance(a, Table):
                return Table({**a, **b})
            if isinstance(a, str) or (a is None and isinstance(b, str)):
                return text_of(a) + text_of(b)
            return (a or 0) + (b if isinstance(b, timedelta) else number(b))
        case "-":
            return a - b if isinstance(a, datetime) else number(a) - number(b)
        case "*":
            return a * int(b) if isinstance(a, str | list) else number(a) * number(b)
        case "/":
            found = number(a) / number(b)
            return int(found) if found == int(found) else found
        case "%":
            return number(a) % number(b)
        case "..":
            return list(range(int(a), int(b) + 1))
        case "-f":
            return formatted(text_of(a), many(b))
        case "-join":
            return text_of(b).join(text_of(each) for each in many(a))
        case "-split":
            return re.split(dotnet(text_of(b)), text_of(a))
        case "-replace":
            pattern, new = [*many(b), ""][:2]
            new = re.sub(r"\$(\d)", r"\\\1", text_of(new).replace("\\", "\\\\"))
            return re.sub(dotnet(text_of(pattern)), new, text_of(a), flags=re.IGNORECASE)
        case "-contains":
            return any(_COMPARE["-eq"](*alike(each, b)) for each in many(a))
        case "-notcontains":
            return not operate("-contains", a, b)
        case "-in":
            return operate("-contains", b, a)
        case "-notin":
            return not operate("-contains", b, a)
        case "-band":
            return int(a) & int(b)
        case "-match":
            return [
                each
                for each in many(a)
                if re.search(dotnet(text_of(b)), text_of(each), re.IGNORECASE)
            ]
        case _:
            raise NotUnderstood(sign)


def alike(a: Any, b: Any) -> tuple[Any, Any]:
    """Both sides as the left one's type, text without case."""
    if isinstance(a, str):
        return a.lower(), text_of(b).lower()
    if isinstance(a, bool):
        return a, true(b)
    if isinstance(a, int | float) and isinstance(b, str):
        return a, number(b)
    return a, b


def formatted(pattern: str, values: list[Any]) -> str:
    def put(found: re.Match[str]) -> str:
        value, style = values[int(found[1])], found[3]
        if style and isinstance(value, datetime):
            return formatted_date(value, style)
        if style and re.fullmatch(r"[DN]\d*|0+", style, re.IGNORECASE):
            return str(int(value)).zfill(len(style) if style[0] == "0" else int(style[1:] or 0))
        if style and re.fullmatch(r"[Xx]\d*", style):
            return format(int(value), f"0{style[1:]}{style[0]}")
        return text_of(value)

    return (
        re.sub(r"\{(\d+)(,-?\d+)?(?::([^}]*))?\}", put, pattern)
        .replace("{{", "{")
        .replace("}}", "}")
    )


def formatted_date(when: datetime, style: str) -> str:
    if style.lower() == "o":
        zone = (
            "Z"
            if when.utcoffset() == timedelta(0)
            else when.strftime("%z")[:3] + ":" + when.strftime("%z")[3:]
            if when.tzinfo
            else ""
        )
        return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond:06}0{zone}"
    if style == "u":
        return when.strftime("%Y-%m-%d %H:%M:%SZ")
    if style == "s":
        return when.strftime("%Y-%m-%dT%H:%M:%S")
    tokens = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}

    def put(found: re.Match[str]) -> str:
        part = found[0]
        if part[0] in "'\"":
            return part[1:-1]
        if set(part) == {"f"}:
            return f"{when.microsecond:06}0"[: len(part)]
        if part in ("K", "zzz"):
            return "Z" if part == "K" and when.utcoffset() == timedelta(0) else when.strftime("%z")
        return when.strftime(tokens[part]) if part in tokens else part

    return re.sub(r"'[^']*'|\"[^\"]*\"|yyyy|MM|dd|HH|mm|ss|f+|K|zzz|.", put, style)


def plain(value: Any) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, Thing):
        return {key: plain(each) for key, each in value.properties.items()}
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, datetime):
        return f"/Date({int(value.timestamp() * 1000)})/"
    return value


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "-eq": lambda a, b: a == b,
    "-ne": lambda a, b: a != b,
    "-gt": lambda a, b: a > b,
    "-ge": lambda a, b: a >= b,
    "-lt": lambda a, b: a < b,
    "-le": lambda a, b: a <= b,
    "-like": lambda a, b: bool(re.match(translate(text_of(b)), text_of(a), re.IGNORECASE)),
    "-notlike": lambda a, b: not re.match(translate(text_of(b)), text_of(a), re.IGNORECASE),
}
_STRINGS: dict[str, Callable[..., Any]] = {
    "endswith": lambda s, end: s.endswith(text_of(end)),
    "startswith": lambda s, start: s.startswith(text_of(start)),
    "contains": lambda s, part: text_of(part) in s,
    "trim": lambda s, chars=None: s.strip(chars),
    "trimend": lambda s, chars=None: s.rstrip(chars),
    "trimstart": lambda s, chars=None: s.lstrip(chars),
    "replace": lambda s, old, new: s.replace(old, new),
    "split": lambda s, by=None: re.split("[" + re.escape(by) + "]", s) if by else s.split(),
    "tolower": lambda s: s.lower(),
    "toupper": lambda s: s.upper(),
    "tolowerinvariant": lambda s: s.lower(),
    "toupperinvariant": lambda s: s.upper(),
    "substring": lambda s, start, size=None: s[start:] if size is None else s[start : start + size],
    "indexof": lambda s, part: s.find(part),
    "padleft": lambda s, size, char=" ": s.rjust(size, char),
    "equals": lambda s, other, _how=None: (
        s.lower() == text_of(other).lower() if _how else s == other
    ),
}
_DATES: dict[str, Callable[..., Any]] = {
    "touniversaltime": lambda when: when.astimezone(UTC),
    "tolocaltime": lambda when: when.astimezone(timezone(timedelta(hours=1))),
    "addseconds": lambda when, n: when + timedelta(seconds=n),
    "addhours": lambda when, n: when + timedelta(hours=n),
    "adddays": lambda when, n: when + timedelta(days=n),
    "tounixtimeseconds": lambda when: int(when.timestamp()),
    "tounixtimemilliseconds": lambda when: int(when.timestamp() * 1000),
}
_PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,), "int": (int,), "int32": (int,), "array": (list,), "hashtable": (dict,), "datetime": (datetime,),
}  # fmt: skip
_STATICS: dict[str, Any] = {
    "string::isnullorempty": lambda s: not text_of(s),
    "string::isnullorwhitespace": lambda s: not text_of(s).strip(),
    "string::join": lambda by, values: by.join(text_of(each) for each in many(values)),
    "math::round": lambda value, digits=0: round(value, digits) if digits else round(value),
    "math::floor": lambda value: int(value // 1),
    "math::max": max,
    "math::min": min,
    "convert::tobase64string": lambda data: base64.b64encode(data).decode(),
    "convert::frombase64string": base64.b64decode,
    "text.encoding::utf8": lambda: Thing(
        "UTF8",
        {"GetString": lambda d: d.decode(), "GetBytes": lambda s: s.encode()},
        WebName="utf-8",
    ),
    "text.encoding::unicode": lambda: Thing(
        "Unicode",
        {"GetString": lambda d: d.decode("utf-16-le"), "GetBytes": lambda s: s.encode("utf-16-le")},
        WebName="utf-16",
    ),
    "guid::newguid": lambda: __import__("uuid").uuid4(),
    "regex::escape": re.escape,
    "stringcomparison::ordinalignorecase": "OrdinalIgnoreCase",
    "text.utf8encoding::new": lambda *_mark: _STATICS["text.encoding::utf8"](),
}
_COMMON_SWITCHES = {"verbose", "debug", "confirm", "whatif", "force", "recurse", "passthru"}
_ALIASES = {
    "?": "where-object", "where": "where-object", "%": "foreach-object", "foreach": "foreach-object",
    "select": "select-object", "sort": "sort-object", "measure": "measure-object", "gwmi": "get-wmiobject",
    "gcim": "get-ciminstance", "icim": "invoke-cimmethod", "echo": "write-output", "write": "write-output",
    "rm": "remove-item", "del": "remove-item", "ri": "remove-item", "gi": "get-item", "gci": "get-childitem",
    "dir": "get-childitem", "ls": "get-childitem", "sleep": "start-sleep", "iex": "invoke-expression",
    "gc": "get-content", "cat": "get-content", "type": "get-content", "md": "new-item-folder",
}  # fmt: skip


def cmdlet(
    *order: str, switches: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Say which parameters a cmdlet takes by place, and which take no value."""

    def marked(function: Callable[..., Any]) -> Callable[..., Any]:
        function.order, function.switches = list(order), set(switches)  # type: ignore[attr-defined]
        return function

    return marked


@cmdlet("filterscript", switches=())
def _where(shell: Shell, named: dict[str, Any]) -> list[Any]:
    test = named.get("filterscript")
    found = []
    for item in named["|"] or []:
        if isinstance(test, Block):
            with shell.scope(_=item):
                kept = true(one(shell.got_all(test.body)))
        else:
            name = test if test is not None else named.get("property")
            sign = next(
                (f"-{each}" for each in named if f"-{each}" in _COMPARE or each == "match"), None
            )
            value = shell.member(item, text_of(name))
            if sign == "-match":
                kept = bool(
                    re.search(dotnet(text_of(named["match"])), text_of(value), re.IGNORECASE)
                )
            else:
                kept = operate(sign, value, named[sign[1:]]) if sign else true(value)
        if kept:
            found.append(item)
    return found


@cmdlet("process")
def _for_each(shell: Shell, named: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for item in named["|"] or []:
        block = named["process"]
        if isinstance(block, Block):
            with shell.scope(_=item):
                found += shell.got_all(block.body)
        else:
            found += many(shell.member(item, text_of(block)))
    return found


@cmdlet("property", switches=("unique",))
def _select(shell: Shell, named: dict[str, Any]) -> list[Any]:
    items = named["|"] or []
    if "first" in named:
        items = items[: int(named["first"])]
    if "last" in named:
        items = items[-int(named["last"]) :]
    if "expandproperty" in named:
        return [
            each for item in items for each in many(shell.member(item, named["expandproperty"]))
        ]
    if "property" in named:
        names = [text_of(each) for each in many(named["property"])]
        return [
            Thing("Selected", **{name: shell.member(item, name) for name in names})
            for item in items
        ]
    return list(dict.fromkeys(items)) if "unique" in named else items


@cmdlet("property", switches=("descending",))
def _sort(shell: Shell, named: dict[str, Any]) -> list[Any]:
    name = named.get("property")
    items: list[Any] = named["|"] or []

    def key(item: Any) -> Any:
        if isinstance(name, Block):
            with shell.scope(_=item):
                return one(shell.got_all(name.body))
        return shell.member(item, text_of(name)) if name else item

    return sorted(items, key=key, reverse="descending" in named)


@cmdlet("property", switches=("sum", "maximum", "minimum", "average"))
def _measure(shell: Shell, named: dict[str, Any]) -> Thing:
    items = named["|"] or []
    values = [
        shell.member(item, named["property"]) if "property" in named else item for item in items
    ]
    numbers = [each for each in values if isinstance(each, int | float)]
    return Thing("Measure", Count=len(items), Sum=sum(numbers), Maximum=max(numbers, default=None),
                 Minimum=min(numbers, default=None))  # fmt: skip


@cmdlet("inputobject", switches=("compress", "asarray"))
def _to_json(shell: Shell, named: dict[str, Any]) -> str:
    given = named["|"] if named["|"] is not None else [named.get("inputobject")]
    value = plain(one(given) if "inputobject" not in named else named["inputobject"])
    indent = None if "compress" in named else 4
    return json.dumps(
        value,
        ensure_ascii=False,
        indent=indent,
        separators=(",", ":") if indent is None else (",", ":  "),
    )


@cmdlet("inputobject")
def _from_json(_shell: Shell, named: dict[str, Any]) -> Any:
    text = named.get("inputobject") or "\n".join(text_of(each) for each in named["|"] or [])
    return json.loads(text, object_hook=lambda found: Thing("PSCustomObject", **found))


@cmdlet("inputobject")
def _write_output(_shell: Shell, named: dict[str, Any]) -> list[Any]:
    given = many(named.get("inputobject")) + named["rest"]
    return given or named["|"] or []


@cmdlet("object", switches=("nonewline",))
def _write_host(shell: Shell, named: dict[str, Any]) -> None:
    shell.write_raw(text_of(named.get("object")) + ("" if "nonewline" in named else "\r\n"))


@cmdlet("message")
def _write_error(shell: Shell, named: dict[str, Any]) -> list[Any]:
    return shell.fail(text_of(named.get("message")), named)


@cmdlet("inputobject")
def _out_null(_shell: Shell, _named: dict[str, Any]) -> None:
    return None


@cmdlet("inputobject")
def _out_string(_shell: Shell, named: dict[str, Any]) -> str:
    return "\r\n".join(line for each in named["|"] or [] for line in shown(each))


@cmdlet("command")
def _invoke_expression(shell: Shell, named: dict[str, Any]) -> list[Any]:
    return shell.got_all(Parser(text_of(named["command"])).script())


@cmdlet("path", "childpath")
def _join_path(_shell: Shell, named: dict[str, Any]) -> str:
    return text_of(named["path"]).rstrip("\\") + "\\" + text_of(named["childpath"]).lstrip("\\")


@cmdlet("path", switches=("leaf", "parent", "qualifier"))
def _split_path(_shell: Shell, named: dict[str, Any]) -> str:
    path = text_of(named["path"]).rstrip("\\")
    if "qualifier" in named:
        return path[:2]
    return path.rpartition("\\")[2] if "leaf" in named else path.rpartition("\\")[0]


_CMDLETS: dict[str, Callable[..., Any]] = {
    "where-object": _where,
    "foreach-object": _for_each,
    "select-object": _select,
    "sort-object": _sort,
    "measure-object": _measure,
    "convertto-json": _to_json,
    "convertfrom-json": _from_json,
    "write-output": _write_output,
    "write-host": _write_host,
    "write-warning": _out_null,
    "write-verbose": _out_null,
    "write-progress": _out_null,
    "write-error": _write_error,
    "out-null": _out_null,
    "out-string": _out_string,
    "invoke-expression": _invoke_expression,
    "join-path": _join_path,
    "split-path": _split_path,
    "set-strictmode": _out_null,
    "import-module": _out_null,
}
