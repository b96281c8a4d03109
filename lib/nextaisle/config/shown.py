"""What of a configuration, and of texts that repeat it, may be shown: no secrets."""

import re

# Options of Spark's readers that hold no secret, in lower case; the value of any other is hidden.
_HARMLESS = (
    "basepath", "charset", "comment", "compression", "dateformat", "delimiter", "driver", "emptyvalue", "encoding",
    "enforceschema", "escape", "fetchsize", "header", "ignoreleadingwhitespace", "ignoretrailingwhitespace",
    "inferschema", "linesep", "locale", "lowerbound", "maxcharspercolumn", "maxcolumns", "mergeschema", "mode",
    "multiline", "nullvalue", "numpartitions", "partitioncolumn", "pathglobfilter", "primitivesasstring", "quote",
    "recursivefilelookup", "sep", "timestampformat", "timestampntzformat", "timezone", "upperbound", "user",
)  # fmt: skip
# With one stroke too, as somebody may mistype it.
_URL = re.compile(r"(?i)\b(jdbc:\w{1,30}:|[a-z][\w+.-]{0,30}:(?=//|/[^\s/:]+:\S{0,300}@))(\S+)")
_QUERY = re.compile(r"[?;#]")
# Azure's name a container before the @.
_CONTAINER = re.compile(r"//[^/:@]+@[^@]*")
_AZURE = ("abfs:", "abfss:", "wasb:", "wasbs:")
_SECRET_IN_TEXT = re.compile(r"(?i)((?:passw|pwd|secret|token|credential|(?:api|access|account)_?key)\w{0,30}=)[^\s&]+")
_HIDDEN = "***"


def shown_setting(value: object, key: str = "") -> object:
    """A setting, as `database.options.user`, or a tree of them, as it may be shown: most options hidden."""
    if isinstance(value, dict):
        return {name: shown_setting(each, f"{key}.{name}") for name, each in value.items()}
    _, is_option, option = f"{key}.".partition("options.")
    if is_option and value and option[:-1].lower() not in _HARMLESS:
        return _HIDDEN
    if isinstance(value, list | tuple):
        return [shown_setting(each, key) for each in value]
    return without_secrets(value) if isinstance(value, str) else value


def without_secrets(text: str) -> str:
    """A text, as it may be shown: of URLs neither who asks nor what is asked.

    | text                                         | shown                            |
    |----------------------------------------------|----------------------------------|
    | no server at http://ann:secret@host/         | no server at http://***@host/    |
    | jdbc:mysql://host/shop?user=ann&key=secret   | jdbc:mysql://host/shop?***       |
    | jdbc:oracle:thin:ann/secret@//host:1521/shop | jdbc:oracle:***@//host:1521/shop |
    """
    return _SECRET_IN_TEXT.sub(rf"\1{_HIDDEN}", _URL.sub(_shown_url, text))


def _shown_url(found: re.Match[str]) -> str:
    scheme, rest = found[1], found[2]
    place, *query = _QUERY.split(rest, maxsplit=1)
    if query and "@" in query[0]:  # of a password with a question mark, or behind one: nobody can tell
        return scheme + _HIDDEN
    user, _, host = place.rpartition("@")
    if user and not (scheme.lower() in _AZURE and _CONTAINER.fullmatch(place)):
        place = f"{'//' * place.startswith('//')}{_HIDDEN}@{host}"
    if query:
        mark = rest[len(rest) - len(query[0]) - 1]
        place += mark + (_HIDDEN if "=" in query[0] else query[0])
    return scheme + place
