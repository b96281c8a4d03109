import os
from datetime import UTC, date, datetime
from pathlib import Path
from unittest import mock

import nbformat
import pytest
from nbclient import NotebookClient
from pyspark.sql import SparkSession

from nextaisle.config import home
from nextaisle.contract.tables import ITEMS, RECOMMENDATIONS, SEQUENCES
from nextaisle.storage.store import Store

NOTEBOOK = home() / "notebooks" / "browse_recommendations.ipynb"
DAY = date(2024, 1, 10)


@pytest.fixture
def tables(spark: SparkSession, store: Store, tmp_path: Path) -> Path:
    """u has bought bread, milk and bread again; n is new. Bread was renamed once, and milk has no department."""
    items = [
        ("i1", 1, date(2024, 1, 1), "Toast", "Bakery", "Bread", "Acme", None, None, None, DAY, DAY),
        ("i1", 1, date(2024, 1, 5), "Bread", "Bakery", "Bread", "Acme", None, None, None, DAY, DAY),
        ("i2", 2, date(2024, 1, 1), "Milk", None, None, None, None, None, None, DAY, DAY),
        ("x9", 3, date(2024, 1, 1), None, "Dairy", None, None, None, None, None, DAY, DAY),
    ]
    moments = [datetime(2024, 1, day, 12, tzinfo=UTC) for day in (2, 9, 9)]
    history = (["i1", "i2", "i1"], [1, 2, 1], ["purchase"] * 3, moments, [None] * 3, [True, True, False])
    lists = [
        ("u", DAY, "default", 1, "i1", 2.5, "model", "nextaisle/1"),
        ("u", DAY, "default", 2, "x9", 1.5, "model", "nextaisle/1"),
        ("n", DAY, "default", 1, "i2", 7.0, "popular", "nextaisle/1"),
    ]
    store.merge(ITEMS, spark.createDataFrame(items, ITEMS.schema))
    store.merge(SEQUENCES, spark.createDataFrame([("u", date(2024, 1, 9), 3, *history)], SEQUENCES.schema))
    store.merge(RECOMMENDATIONS, spark.createDataFrame(lists, RECOMMENDATIONS.schema))
    return tmp_path / "tables"


def executed(tables: Path, **parameters: str) -> list[str]:
    """What the code cells show as text, one after the other."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for name, value in parameters.items():
        notebook.cells[1].source += f"\n{name} = {value!r}"
    environment = {"NEXTAISLE_TABLES": str(tables), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    with mock.patch.dict(os.environ, environment):
        NotebookClient(notebook, timeout=240, kernel_name="python3", resources=path_of_notebooks()).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [str(output.get("text") or output["data"].get("text/plain")) for output in outputs]


def path_of_notebooks() -> dict[str, dict[str, str]]:
    return {"metadata": {"path": str(NOTEBOOK.parent)}}


def test_the_notebook_shows_a_history_and_its_list_by_name(tables: Path) -> None:
    users, chosen, history, listed, figure = executed(tables)
    assert chosen == "('u', '2024-01-10')"
    assert users.index("│ u ") < users.index("│ n ")
    assert [history.count(name) for name in ("Bread", "Toast", "Milk")] == [4, 0, 1]  # twice as item, twice as category
    assert listed.index("Bread") < listed.index("x9")
    assert "Figure" in figure


def test_the_notebook_shows_a_user_of_whom_nothing_is_known(tables: Path) -> None:
    _, _, history, listed, _ = executed(tables, USER="n", DAY="2024-01-10")
    assert "shape: (0, 7)" in history
    assert "Milk" in listed
    assert "popular" in listed


def test_the_notebook_is_kept_without_outputs() -> None:
    code = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
