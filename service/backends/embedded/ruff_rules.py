"""Which of ruff's rules are run, what category each has, and how it is worded for a reviewer.

Data only; running ruff is in `service.backends.embedded.ruff`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from review_data.domain import Category


class Words(NamedTuple):
    """How a ruff rule is reported; an empty title keeps ruff's message, an empty why ruff's rule name."""

    category: Category
    title: str = ""
    why: str = ""
    fix: str = ""


_SEC: Final = Category.SECURITY
_COR: Final = Category.CORRECTNESS
_RES: Final = Category.RESOURCE
_CON: Final = Category.CONCURRENCY
_ERR: Final = Category.ERROR_HANDLING
_MAI: Final = Category.MAINTAINABILITY
# What ruff calls an error that keeps it from reading a file; no rule, and reported without being asked for.
SYNTAX: Final = "invalid-syntax"
# Which rules ruff runs: those whose hits a reviewer wants to hear of. Left out on purpose: style, and rules
# whose hits are mostly fine (S101, S104, S110, S603, S607, S608 (the pack's own rule is narrower), PERF203).
RULES: Final[dict[str, Words]] = {
    "B002": Words(_COR, "`++` does nothing in Python"),
    "B005": Words(
        _COR, "`strip` with several characters removes a set of characters, not a prefix or suffix"
    ),
    "B006": Words(
        _COR,
        "The mutable default argument is shared by all calls",
        "The default is made once, when the function is defined; what one call adds, the next one sees.",
        "Use None as the default and make the object in the body.",
    ),
    "B012": Words(_ERR, "Leaving the `finally` block by {name} swallows the exception"),
    "B015": Words(_COR, "The comparison's result is not used"),
    "B016": Words(_ERR, "Raising a literal is a TypeError"),
    "B017": Words(
        Category.TESTING,
        "The test passes on any exception at all",
        "A typo in the test or a TypeError satisfies it as well, so it does not test what it says.",
        "Name the exception that is expected.",
    ),
    "B018": Words(_COR, "The expression has no effect"),
    "B019": Words(
        _RES,
        "The cache on a method keeps every instance alive",
        "functools caches hold `self`, so objects are never freed, and all instances share one cache size.",
        "Cache on the instance (cached_property), or key a module function by plain values.",
    ),
    "B020": Words(_COR, "The loop variable overwrites the collection that it runs over"),
    "B023": Words(
        _COR,
        "The function made in the loop sees the last value of {name}",
        "The variable is looked up when the function is called, after the loop has moved on.",
        "Bind the value: a default argument or functools.partial.",
    ),
    "B025": Words(_ERR, "The exception is caught twice; the second handler never runs"),
    "B029": Words(_ERR, "`except ():` catches nothing"),
    "B030": Words(_ERR, "The except clause names something that is no exception"),
    "B031": Words(_COR, "The group of `groupby` is read a second time and is empty then"),
    "B032": Words(_COR, "This is a type annotation, not an assignment"),
    "B034": Words(
        _COR,
        "The flag lands in the parameter that counts or limits",
        "The third and fourth positional parameters of `re.sub` and `re.split` are not the flags.",
        "Pass `flags=` by name.",
    ),
    "B035": Words(_COR, "The dict comprehension has a constant key and keeps one entry"),
    "B039": Words(_COR, "The context variable's mutable default is shared by all contexts"),
    "S102": Words(_SEC, "`exec` runs text as code"),
    "S103": Words(_SEC, "The file becomes writable for everybody"),
    "S113": Words(
        _RES,
        "The request has no timeout",
        "requests waits for ever by default; one host that does not answer blocks the worker.",
        "Pass `timeout=`.",
    ),
    "S301": Words(
        _SEC,
        "Unpickling runs code that is stored in the data",
        "Whoever can write the data runs any command when it is loaded.",
        "Use a data-only format such as JSON.",
    ),
    "S302": Words(_SEC, "marshal can crash or run code on crafted data"),
    "S306": Words(
        _SEC,
        "`mktemp` leaves a gap in which somebody else can create the file",
        "Between the name and the opening, another user can put a link there.",
        "Use NamedTemporaryFile or mkstemp.",
    ),
    "S307": Words(
        _SEC,
        "`eval` runs text as code",
        "Whoever influences the text runs Python in this process.",
        "Use ast.literal_eval, a parser, or a table of allowed operations.",
    ),
    "S323": Words(_SEC, "The TLS context does not check certificates"),
    "S324": Words(
        _SEC,
        "A broken hash function is used",
        "MD5 and SHA-1 collisions can be made in seconds; for passwords and tokens they are also too fast.",
        "Use SHA-256, argon2 or bcrypt for passwords; say `usedforsecurity=False` where it is a checksum.",
    ),
    "S501": Words(
        _SEC,
        "TLS certificates are not checked",
        "Anybody on the way can read and change the traffic.",
        "Remove `verify=False`; give the CA file of a private authority.",
    ),
    "S502": Words(_SEC, "An insecure TLS version is allowed"),
    "S503": Words(_SEC, "An insecure TLS version is the default"),
    "S505": Words(_SEC, "The key is too short"),
    "S506": Words(
        _SEC,
        "`yaml.load` can instantiate any Python object",
        "Tags in the document call constructors and functions, so whoever writes the YAML runs code.",
        "Use yaml.safe_load.",
    ),
    "S507": Words(_SEC, "The SSH host key is accepted without a check"),
    "S508": Words(_SEC),
    "S509": Words(_SEC),
    "S602": Words(
        _SEC,
        "A command line is given to the shell",
        "Shell characters in a value start further commands.",
        "Pass a list of arguments without `shell=True`.",
    ),
    "S604": Words(_SEC, "The call starts a shell"),
    "S605": Words(
        _SEC,
        "A command line is given to the shell",
        "Shell characters in a value start further commands.",
        "Use subprocess.run with a list of arguments.",
    ),
    "S609": Words(_SEC, "A wildcard in the command can be read as options"),
    "S611": Words(_SEC, "RawSQL with a value in it can be injected into"),
    "S612": Words(_SEC),
    "S701": Words(
        _SEC,
        "jinja2 does not escape HTML here",
        "Values with `<script>` run in the reader's browser.",
        "Pass `autoescape=True` or select_autoescape().",
    ),
    "S702": Words(_SEC, "Mako does not escape HTML by default"),
    "ASYNC100": Words(_CON, "The cancel scope has no await in it, so its deadline never fires"),
    "ASYNC210": Words(
        _CON,
        "A blocking HTTP call inside a coroutine stops the event loop",
        "While it waits, no other request or task of the process makes progress.",
        "Use an async client, or asyncio.to_thread.",
    ),
    "ASYNC212": Words(_CON, "A blocking HTTP call inside a coroutine stops the event loop"),
    "ASYNC220": Words(_CON, "A blocking subprocess call inside a coroutine stops the event loop"),
    "ASYNC221": Words(_CON, "A blocking subprocess call inside a coroutine stops the event loop"),
    "ASYNC222": Words(_CON, "Waiting for a process inside a coroutine stops the event loop"),
    "ASYNC251": Words(
        _CON,
        "`time.sleep` inside a coroutine stops the event loop",
        "While it sleeps, no other request or task of the process makes progress.",
        "Use `await asyncio.sleep`.",
    ),
    "RUF006": Words(
        _CON,
        "Nobody keeps the task, so it may be collected before it has finished",
        "The event loop holds tasks only weakly, and their exceptions are lost.",
        "Keep the task (a set with a done callback, or a TaskGroup).",
    ),
    "RUF024": Words(_COR, "All keys share one mutable value"),
    "RUF026": Words(_COR, "`default_factory` as keyword makes an entry of a defaultdict, not its factory"),
    "PLE0100": Words(_COR),
    "PLE0101": Words(_COR),
    "PLE0116": Words(_COR),
    "PLE0117": Words(_COR),
    "PLE0118": Words(_COR),
    "PLE0302": Words(_COR),
    "PLE0307": Words(_COR),
    "PLE0604": Words(_COR),
    "PLE0643": Words(_COR, "The index is beyond the end of the sequence"),
    "PLE0704": Words(_ERR),
    "PLE1142": Words(_COR, "`await` stands outside an async function"),
    "PLE1205": Words(_ERR, "The log call has more values than placeholders and fails"),
    "PLE1206": Words(_ERR, "The log call has fewer values than placeholders and fails"),
    "PLE1300": Words(_COR),
    "PLE1307": Words(_COR, "The format and the value's type do not fit"),
    "PLE1310": Words(_COR, "`strip` is given a character twice; it removes characters, not a word"),
    "PLE1507": Words(_COR, "The environment variable's name or default is no string"),
    "PLE1519": Words(_COR),
    "PLW0128": Words(_COR),
    "PLW0129": Words(Category.TESTING, "The assertion is on a string and can't fail"),
    "PLW0131": Words(_COR),
    "PLW0177": Words(_COR, "A comparison with NaN is always false"),
    "PLW0211": Words(_COR),
    "PLW0245": Words(_COR, "`super` is missing its parentheses"),
    "PLW0711": Words(_ERR, "`except A or B` catches only A"),
    "PLW1501": Words(_COR),
    "PLW1507": Words(_COR),
    "PLW1509": Words(_CON, "`preexec_fn` is not safe with threads"),
    "PLW2101": Words(_CON, "The lock is made and released at once, so it protects nothing"),
    "F502": Words(_COR),
    "F503": Words(_COR),
    "F505": Words(_COR),
    "F506": Words(_COR),
    "F507": Words(_COR),
    "F509": Words(_COR),
    "F522": Words(_COR),
    "F524": Words(_COR),
    "F601": Words(_COR, "The dict has the same key twice; the first value is lost"),
    "F631": Words(Category.TESTING, "The assertion is on a tuple and can't fail"),
    "F632": Words(_COR, "`is` compares identity, not the literal's value"),
    "F633": Words(_COR),
    "F634": Words(_COR, "The condition is a tuple and always true"),
    "F702": Words(_COR),
    "F706": Words(_COR),
    "F811": Words(_COR, "{name} is defined twice; the first definition is lost"),
    "E722": Words(
        _ERR,
        "The bare `except` also catches KeyboardInterrupt and every bug",
        "Errors that nobody thought of disappear, and the process can't be stopped.",
        "Name the exceptions.",
    ),
    "T100": Words(_MAI, "A debugger call was left in"),
}
WHOLE_FILE: Final[dict[str, Words]] = {
    SYNTAX: Words(
        _COR,
        "The file does not parse as Python: {message}",
        "Whoever runs or imports the file gets a SyntaxError.",
        "Correct the line, and run the file once.",
    ),
    "F401": Words(
        _MAI,
        "{name} is imported but not used",
        "The name occurs nowhere else in the file.",
        "Remove the import.",
    ),
    "F821": Words(
        _COR,
        "{name} is not defined",
        "The line raises NameError when it is reached.",
        "Import or define it, or correct the spelling.",
    ),
    "F822": Words(_COR),
    "F823": Words(_COR, "{name} is used before it has a value"),
    "F841": Words(_MAI, "{name} is assigned but never used", "Nothing reads the value.", "Remove it."),
}
# Without the lines around, a piece of a function looks like the top of a module.
NEEDS_SURROUNDINGS: Final = frozenset(
    {"PLE1142", "F706", "F702", "PLE0118", "F811", "PLE0100", "PLE0101", "PLE0704"}
)
IN_TESTS: Final = frozenset({"B015", "B017", "F631", "PLW0129", "T100"})
