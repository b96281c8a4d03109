"""Lines of JSON: which are one object, whatever stands around it."""

from pyspark.sql import SparkSession

from nextaisle import overlays
from nextaisle.events.records import IS_UNREADABLE, parse_lines

LINES = {
    '{"a": "x", "b": {"c": 1}}': True,
    ' \t{"a": "x", "b": {"c": 1}} \t\r': True,
    '{"a": "x"}\r': True,
    '{"a": "x", "b": {"c": 1}, "d": [{"e": [[1], [2]]}, {"e": "};{"}], "f": {}}': True,
    '{"a": "x"} {"a": "y"}': False,
    '{"a": "x"};{"a": "y"}': False,
    '{"a": "x"}\x00{"a": "y"}': False,
    '{"a": "x"}, and {"a": "y"}': False,
    '{"a": "x"}]{"a": "y"}': False,
    '{"a": "x"}},{"a": "y"}': False,
    '{"a": "x", "b": {"c": 1}} | {"a": "y"}': False,
    '{"a": "x", "b": {"c": 1}} y': False,
    '{"a": "x", "b": {"c": 1}': False,
    '[{"a": "x"}]': False,
}


def test_a_line_is_read_if_it_is_one_object(spark: SparkSession) -> None:
    source = overlays.load(assignments=["source.format=json", "source.schema=a string, b struct<c: int>"]).source
    lines = spark.createDataFrame([(line, line) for line in LINES], "value string, _nextaisle_text string")
    rows = parse_lines(lines, source).collect()
    assert {row["_nextaisle_text"]: not row[IS_UNREADABLE] for row in rows} == LINES
    assert {row["a"] for row in rows if not row[IS_UNREADABLE]} == {"x"}
