"""A part of PowerShell's grammar, as nested tuples: what backup scripts use, and nothing by accident.

Whatever is not understood is a ``NotUnderstood``: a script of ours never passes for a wrong reason.
Source of the grammar: PowerShell Language Specification 3.0, chapters 2, 5, 7 and 8.
"""

import re
from typing import Any

Node = tuple[Any, ...]

_NUMBER = re.compile(
    r"(0x[0-9A-Fa-f]+|\d+\.\d+|\d+)(kb|mb|gb|tb|l|d)?(?!\w|\.(?!\.))", re.IGNORECASE
)
_VARIABLE = re.compile(
    r"\$(?:\{([^}]+)\}|(env:\w+|(?:script:|global:|local:)?[A-Za-z_]\w*|[?$^_]))"
)
_TYPE = re.compile(r"\[([A-Za-z_][\w.]*(?:\[\])?)\]")
_WORD = re.compile(r"[A-Za-z_][\w.:\\-]*")
_OPERATOR = re.compile(
    r"-(?:[ci]?(?:eq|ne|gt|ge|lt|le|like|notlike|match|notmatch|replace|contains|notcontains|in|notin|split)"
    r"|join|f|and|or|xor|band|bor|is|isnot|as)(?![\w-])",
    re.IGNORECASE,
)
_LOGICAL = frozenset({"-and", "-or", "-xor"})
_BACKTICK = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "a": "\a", "b": "\b"}
_SIZES = {"kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40}


class NotUnderstood(Exception):
    """This is not in the part of PowerShell we simulate."""


class Parser:
    """``Parser(text).script()`` is the list of statements."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text.replace("\r\n", "\n"), 0

    # --- characters ------------------------------------------------------------------------

    def wrong(self, what: str) -> NotUnderstood:
        return NotUnderstood(f"{what}: «{self.text[self.at : self.at + 60]}»")

    def peek(self, size: int = 1) -> str:
        return self.text[self.at : self.at + size]

    def blank(self, lines: bool = False) -> None:
        while self.at < len(self.text):
            if self.peek() in " \t" or (lines and self.peek() in "\n;"):
                self.at += 1
            elif self.peek(2) == "`\n":
                self.at += 2
            elif self.peek(2) == "<#":
                self.at = self.text.index("#>", self.at) + 2
            elif self.peek() == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return

    def newlines(self) -> None:
        while True:
            self.blank()
            if self.peek() != "\n":
                return
            self.at += 1

    def take(self, expected: str) -> None:
        if not self.text.startswith(expected, self.at):
            raise self.wrong(f"expected {expected}")
        self.at += len(expected)

    def keyword(self, *words: str) -> str | None:
        found = re.compile(r"[A-Za-z]+\b(?![-:])").match(self.text, self.at)
        if found and found[0].lower() in words:
            self.at = found.end()
            return found[0].lower()
        return None

    # --- statements ------------------------------------------------------------------------

    def script(self, end: str = "") -> list[Node]:
        """Statements up to ``end`` (not taken), or to the end of the text."""
        found: list[Node] = []
        while True:
            self.blank(lines=True)
            if self.at >= len(self.text):
                if end:
                    raise self.wrong(f"expected {end}")
                return found
            if end and self.peek() == end:
                return found
            found.append(self.statement())

    def block(self) -> list[Node]:
        self.newlines()
        self.take("{")
        body = self.script("}")
        self.take("}")
        return body

    def statement(self) -> Node:
        word = self.keyword(
            "if", "foreach", "while", "do", "try", "throw", "return", "exit", "break", "continue",
            "function", "param", "switch", "for",
        )  # fmt: skip
        match word:
            case None:
                return self.pipeline_or_assignment()
            case "if":
                return self.conditional()
            case "foreach":
                self.blank()
                self.take("(")
                self.newlines()
                name = self.variable_name()
                self.newlines()
                if not self.keyword("in"):
                    raise self.wrong("expected in")
                items = self.statement()
                self.newlines()
                self.take(")")
                return ("foreach", name, items, self.block())
            case "while":
                return ("while", self.parenthesised(), self.block())
            case "try":
                return self.attempt()
            case "throw" | "return" | "exit":
                self.blank()
                empty = self.at >= len(self.text) or self.peek() in "\n;}"
                return (word, None if empty else self.statement())
            case "break" | "continue":
                return (word,)
            case "function":
                self.blank()
                name = _WORD.match(self.text, self.at)
                if not name:
                    raise self.wrong("a function's name")
                self.at = name.end()
                self.blank()
                parameters = self.parameters() if self.peek() == "(" else []
                return ("function", name[0].lower(), parameters, self.block())
            case "param":
                self.blank()
                return ("param", self.parameters())
            case _:
                raise self.wrong(f"the statement {word}")

    def parameters(self) -> list[str]:
        self.take("(")
        found = []
        while True:
            self.newlines()
            while type_found := _TYPE.match(self.text, self.at):
                self.at = type_found.end()
            if self.peek() == ")":
                self.at += 1
                return found
            found.append(self.variable_name())
            self.newlines()
            if self.peek() == ",":
                self.at += 1

    def parenthesised(self) -> Node:
        self.blank()
        self.take("(")
        self.newlines()
        inner = self.statement()
        self.newlines()
        self.take(")")
        return inner

    def conditional(self) -> Node:
        branches = [(self.parenthesised(), self.block())]
        otherwise: list[Node] | None = None
        while True:
            before = self.at
            self.newlines()
            word = self.keyword("elseif", "else")
            if word == "elseif":
                branches.append((self.parenthesised(), self.block()))
            elif word == "else":
                otherwise = self.block()
                break
            else:
                self.at = before
                break
        return ("if", branches, otherwise)

    def attempt(self) -> Node:
        body, catch, last = self.block(), None, None
        while True:
            before = self.at
            self.newlines()
            word = self.keyword("catch", "finally")
            if word == "catch":
                self.blank()
                while type_found := _TYPE.match(self.text, self.at):
                    self.at = type_found.end()
                    self.blank()
                catch = self.block()
            elif word == "finally":
                last = self.block()
            else:
                self.at = before
                return ("try", body, catch, last)

    def variable_name(self) -> str:
        found = _VARIABLE.match(self.text, self.at)
        if not found:
            raise self.wrong("expected a variable")
        self.at = found.end()
        return (found[1] or found[2]).lower()

    def pipeline_or_assignment(self) -> Node:
        start = self.at
        if self.peek() in "$[":
            try:
                target = self.postfix()
                self.blank()
                operator = next(
                    (op for op in ("+=", "-=", "=") if self.text.startswith(op, self.at)), None
                )
                if operator and self.peek(2) != "==":
                    self.at += len(operator)
                    self.newlines()
                    return ("assign", target, operator, self.statement())
            except NotUnderstood:
                pass
            self.at = start
        return self.pipeline()

    def pipeline(self) -> Node:
        elements = [self.element()]
        while True:
            self.blank()
            if self.peek() != "|":
                break
            self.at += 1
            self.newlines()
            elements.append(self.element())
        return ("pipeline", elements)

    def element(self) -> Node:
        self.blank()
        called = self.peek() in "&." and self.text[self.at + 1 : self.at + 2] in " \t$\"'("
        if called:
            self.at += 1
            self.blank()
            return self.command(self.argument())
        if _WORD.match(self.text, self.at) or self.peek() in "?%":
            if self.peek() in "?%":
                self.at += 1
                return self.command(("string", self.text[self.at - 1]))
            word = _WORD.match(self.text, self.at)
            assert word
            self.at = word.end()
            return self.command(("string", word[0]))
        found = self.expression()
        self.redirections()
        return found

    def redirections(self) -> list[str]:
        found = []
        while True:
            self.blank()
            what = re.compile(r"(\*|\d)?>{1,2}\s*(&1|\$null|&2)").match(self.text, self.at)
            if not what:
                return found
            self.at = what.end()
            found.append(what[0].replace(" ", "").lower())

    def command(self, name: Node) -> Node:
        words: list[Node] = []
        redirected: list[str] = []
        while True:
            self.blank()
            if self.at >= len(self.text) or self.peek() in "\n;|)}":
                return ("command", name, words, redirected)
            redirected += self.redirections()
            if self.at >= len(self.text) or self.peek() in "\n;|)}":
                continue
            flag = re.compile(r"-([A-Za-z_]\w*)(:)?").match(self.text, self.at)
            if flag:
                self.at = flag.end()
                words.append(("flag", flag[1].lower(), flag[0]))
                if flag[2]:
                    self.blank()
                    words[-1] = ("flag=", flag[1].lower(), self.argument())
                continue
            words.append(self.argument())

    def argument(self) -> Node:
        items = [self.one_argument()]
        while True:
            before = self.at
            self.blank()
            if self.peek() != ",":
                self.at = before
                return items[0] if len(items) == 1 else ("array", items)
            self.at += 1
            self.newlines()
            items.append(self.one_argument())

    def one_argument(self) -> Node:
        parts: list[Node] = []
        while self.at < len(self.text) and self.peek() not in " \t\n;|)},":
            char = self.peek()
            if char in "'\"" or (char in "(@{$[" and not parts and self._starts_value()):
                parts.append(self.postfix())
            elif char == "$" and _VARIABLE.match(self.text, self.at):
                parts.append(("variable", self.variable_name()))
            elif char == "(":
                break
            elif char == "`":
                parts.append(("string", self.text[self.at + 1]))
                self.at += 2
            else:
                number = _NUMBER.match(self.text, self.at) if not parts else None
                if number:
                    parts.append(self.number())
                    continue
                word = re.compile(r"[^\s;|(){},'\"`$]+|\$").match(self.text, self.at)
                if not word:
                    raise self.wrong("an argument")
                self.at = word.end()
                parts.append(("string", word[0]))
        if not parts:
            raise self.wrong("an argument")
        return parts[0] if len(parts) == 1 else ("concat", parts)

    def _starts_value(self) -> bool:
        char = self.peek()
        if char == "$":
            return bool(_VARIABLE.match(self.text, self.at)) or self.peek(2) == "$("
        if char == "@":
            return self.peek(2) in ("@(", "@{") or bool(re.match(r"@\w", self.peek(2)))
        return char != "[" or bool(_TYPE.match(self.text, self.at))

    # --- expressions -----------------------------------------------------------------------

    def expression(self) -> Node:
        left = self.comparison()
        while True:
            self.blank()
            found = _OPERATOR.match(self.text, self.at)
            if not found or found[0].lower() not in _LOGICAL:
                return left
            self.at = found.end()
            self.newlines()
            left = ("operator", found[0].lower(), left, self.comparison())

    def comparison(self) -> Node:
        left = self.sum()
        while True:
            self.blank()
            found = _OPERATOR.match(self.text, self.at)
            if not found or found[0].lower() in _LOGICAL or found[0].lower() == "-f":
                return left
            self.at = found.end()
            self.newlines()
            left = ("operator", found[0].lower(), left, self.sum())

    def sum(self) -> Node:
        left = self.product()
        while True:
            self.blank()
            char = self.peek()
            if char not in ("+", "-") or _OPERATOR.match(self.text, self.at):
                return left
            self.at += 1
            self.newlines()
            left = ("operator", char, left, self.product())

    def product(self) -> Node:
        left = self.formatted()
        while True:
            self.blank()
            char = self.peek()
            if not char or char not in "*/%":
                return left
            self.at += 1
            self.newlines()
            left = ("operator", char, left, self.formatted())

    def formatted(self) -> Node:
        left = self.ranged()
        while True:
            self.blank()
            found = _OPERATOR.match(self.text, self.at)
            if not found or found[0].lower() != "-f":
                return left
            self.at = found.end()
            self.newlines()
            left = ("operator", "-f", left, self.ranged())

    def ranged(self) -> Node:
        left = self.listed()
        self.blank()
        if self.peek(2) == "..":
            self.at += 2
            return ("operator", "..", left, self.listed())
        return left

    def listed(self) -> Node:
        items = [self.unary()]
        while True:
            before = self.at
            self.blank()
            if self.peek() != ",":
                self.at = before
                return items[0] if len(items) == 1 else ("array", items)
            self.at += 1
            self.newlines()
            items.append(self.unary())

    def unary(self) -> Node:
        self.blank()
        negation = re.compile(r"!|-not\b|-join\b|-(?=[\d$(])|,", re.IGNORECASE).match(
            self.text, self.at
        )
        if negation:
            self.at = negation.end()
            return ("unary", negation[0].lower(), self.unary())
        kind = _TYPE.match(self.text, self.at)
        if kind and self.text[kind.end() : kind.end() + 2] != "::":
            after = self.text[kind.end() : kind.end() + 1]
            if (after and after not in " \t\n;|)}") or self.text[kind.end() :].lstrip(" ")[:1] in (
                "$",
                "'",
                '"',
                "(",
                "@",
                "[",
            ):
                self.at = kind.end()
                return ("cast", kind[1].lower(), self.unary())
        return self.postfix()

    def postfix(self) -> Node:
        node = self.primary()
        while self.at < len(self.text):
            if self.peek(2) == "::":
                self.at += 2
                node = self.member(node, "static")
            elif self.peek() == "." and re.match(
                r"[A-Za-z_$'\"]", self.text[self.at + 1 : self.at + 2]
            ):
                self.at += 1
                node = self.member(node, "member")
            elif self.peek() == "[":
                self.at += 1
                self.newlines()
                index = self.expression()
                self.newlines()
                self.take("]")
                node = ("index", node, index)
            else:
                break
        return node

    def member(self, node: Node, kind: str) -> Node:
        if self.peek() == "$":
            name: Any = ("variable", self.variable_name())
        elif self.peek() in "'\"":
            name = self.primary()
        else:
            word = re.compile(r"\w+").match(self.text, self.at)
            if not word:
                raise self.wrong("a member")
            self.at = word.end()
            name = ("string", word[0])
        if self.peek() != "(":
            return (kind, node, name)
        self.at += 1
        arguments = []
        while True:
            self.newlines()
            if self.peek() == ")":
                self.at += 1
                return (f"{kind}()", node, name, arguments)
            saved = self.unary_only_list()
            arguments.append(saved)
            self.newlines()
            if self.peek() == ",":
                self.at += 1

    def unary_only_list(self) -> Node:
        """One argument of a method: an expression where a comma parts arguments."""
        original, self.listed = self.listed, self.unary  # type: ignore[method-assign]
        try:
            return self.expression()
        finally:
            self.listed = original  # type: ignore[method-assign]

    def primary(self) -> Node:
        self.blank()
        char = self.peek()
        if self.peek(2) in ("@'", '@"'):
            return self.here_string()
        if char == "'":
            found = re.compile(r"'((?:[^']|'')*)'").match(self.text, self.at)
            if not found:
                raise self.wrong("a string without an end")
            self.at = found.end()
            return ("string", found[1].replace("''", "'"))
        if char == '"':
            return self.double_quoted()
        if self.peek(2) in ("$(", "@("):
            self.at += 2
            saved = self.__dict__.pop("listed", None)
            body = self.script(")")
            if saved:
                self.listed = saved  # type: ignore[method-assign]
            self.take(")")
            return ("sub" if char == "$" else "collect", body)
        if self.peek(2) == "@{":
            return self.table()
        splat = re.compile(r"@(\w+)").match(self.text, self.at)
        if splat:
            self.at = splat.end()
            return ("splat", splat[1].lower())
        if char == "$":
            return ("variable", self.variable_name())
        if char == "(":
            self.at += 1
            self.newlines()
            saved = self.__dict__.pop("listed", None)
            inner = self.statement()
            if saved:
                self.listed = saved  # type: ignore[method-assign]
            self.newlines()
            self.take(")")
            return ("group", inner)
        if char == "{":
            saved = self.__dict__.pop("listed", None)
            body = self.block()
            if saved:
                self.listed = saved  # type: ignore[method-assign]
            return ("block", body)
        kind = _TYPE.match(self.text, self.at)
        if kind:
            self.at = kind.end()
            return ("type", kind[1].lower())
        if _NUMBER.match(self.text, self.at):
            return self.number()
        raise self.wrong("an expression")

    def number(self) -> Node:
        found = _NUMBER.match(self.text, self.at)
        assert found
        self.at = found.end()
        text, suffix = found[1], (found[2] or "").lower()
        value: int | float = (
            int(text, 16)
            if text.lower().startswith("0x")
            else float(text)
            if "." in text
            else int(text)
        )
        return ("number", value * _SIZES.get(suffix, 1))

    def table(self) -> Node:
        self.take("@{")
        pairs = []
        saved = self.__dict__.pop("listed", None)
        while True:
            self.blank(lines=True)
            if self.peek() == "}":
                self.at += 1
                if saved:
                    self.listed = saved  # type: ignore[method-assign]
                return ("table", pairs)
            word = re.compile(r"[A-Za-z_]\w*").match(self.text, self.at)
            if word:
                self.at = word.end()
                key: Node = ("string", word[0])
            else:
                key = self.unary()
            self.blank()
            self.take("=")
            self.newlines()
            pairs.append((key, self.statement()))

    def here_string(self) -> Node:
        quote = self.text[self.at + 1]
        end = self.text.find(f"\n{quote}@", self.at)
        start = self.text.find("\n", self.at) + 1
        if end < 0:
            raise self.wrong("a here-string without an end")
        body = self.text[start:end] if end >= start else ""
        self.at = end + 3
        return ("string", body) if quote == "'" else ("concat", Parser(body).interpolated(None))

    def double_quoted(self) -> Node:
        self.take('"')
        parts = self.interpolated('"')
        return ("concat", parts)

    def interpolated(self, end: str | None) -> list[Node]:
        parts: list[Node] = []
        literal = ""
        while True:
            if self.at >= len(self.text):
                if end:
                    raise self.wrong("a string without an end")
                break
            char = self.peek()
            if end and char == end:
                if self.peek(2) == end * 2:
                    literal += end
                    self.at += 2
                    continue
                self.at += 1
                break
            if char == "`":
                following = self.text[self.at + 1]
                literal += _BACKTICK.get(following, following)
                self.at += 2
            elif self.peek(2) == "$(":
                parts.append(("string", literal))
                literal = ""
                self.at += 2
                saved = self.__dict__.pop("listed", None)
                parts.append(("sub", self.script(")")))
                if saved:
                    self.listed = saved  # type: ignore[method-assign]
                self.take(")")
            elif char == "$" and (found := _VARIABLE.match(self.text, self.at)):
                parts.append(("string", literal))
                literal = ""
                self.at = found.end()
                parts.append(("variable", (found[1] or found[2]).lower()))
            else:
                literal += char
                self.at += 1
        parts.append(("string", literal))
        return parts
