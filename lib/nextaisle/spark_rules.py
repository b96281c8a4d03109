"""What only Spark can tell of a configuration: whether it reads the schemas, patterns and names in it."""

from collections.abc import Callable
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from nextaisle.config import Columns, Settings
from nextaisle.contract.errors import ConfigurationError


def check_with_spark(spark: SparkSession, settings: Settings) -> None:
    """
    Raises:
        ConfigurationError: names every setting that Spark, or Java below it, does not understand.
    """
    jvm: Any = spark._jvm
    read: dict[str, tuple[Callable[[str], object], str]] = {
        "source.time_zone": (jvm.java.time.ZoneId.of, settings.source.time_zone)
    }
    for section in ("source", "items", "users", "identities"):
        source: Columns = getattr(settings, section)
        options = {name.lower(): text for name, text in source.options.items()}
        read[f"{section}.schema"] = StructType.fromDDL, source.ddl
        read[f"{section}.options.encoding"] = jvm.java.nio.charset.Charset.forName, options.get("encoding", "")
    for name, policy in settings.source.policies.by_column().items():
        read[f"source.policies.{name}.pattern"] = jvm.java.util.regex.Pattern.compile, getattr(policy, "pattern", "")
    problems = [f"{key} is {text!r}: {said}" for key, (parse, text) in read.items() if (said := _refusal(parse, text))]
    if problems:
        raise ConfigurationError("\n".join(problems))


def _refusal(parse: Callable[[str], object], text: str) -> str:
    """What is wrong with the text; nothing is wrong with none."""
    try:
        if text:
            parse(text)
    except (Py4JJavaError, PySparkException) as error:
        said = str(error.java_exception.getMessage()) if isinstance(error, Py4JJavaError) else str(error)
        return said.strip().splitlines()[0]
    return ""
