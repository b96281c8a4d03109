from datetime import date
from pathlib import Path

import pytest

from nextaisle import config, overlays
from nextaisle.contract.errors import ConfigurationError
from nextaisle.evaluation.metrics import metric_names


def refusal(*assignments: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        overlays.load(assignments=assignments)
    return str(caught.value)


def test_an_unknown_key_is_named_with_its_file_and_the_nearest_known_key(tmp_path: Path) -> None:
    overlay = tmp_path / "shop.toml"
    overlay.write_text("[sessions]\ngap_minuts = 20\n")
    with pytest.raises(ConfigurationError) as caught:
        overlays.load([overlay])
    assert str(caught.value) == (
        f"{overlay}: unknown key sessions.gap_minuts; the nearest known key is sessions.gap_minutes"
    )


def test_every_wrong_key_is_named_at_once() -> None:
    message = refusal("sessions.gap_minutes=often", "training.los=x")
    assert "sessions.gap_minutes" in message
    assert "training.los" in message
    assert "training.loss" in message


def test_a_wrong_type_is_named_with_what_was_found() -> None:
    assert "found 'often'" in refusal("sessions.gap_minutes=often")


def test_an_unknown_column_of_the_mapping_names_the_nearest() -> None:
    assert "'user_id'" in refusal("source.columns.userid=CustomerID")


def test_an_unknown_event_type_names_the_nearest() -> None:
    message = refusal("profiles.interest_event_types=['veiw']", "item_graph.event_types=['purchases']")
    assert "'view'" in message
    assert "'purchase'" in message


def test_an_event_type_that_is_none_of_ours_names_the_nearest() -> None:
    assert "'cart'" in refusal("source.event_types.addtocart=carts")


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ("price.missing=constant", "without constant"),
        ("price.constant=1", "missing is 'keep', which takes no heed of it"),
        ("price.odd=clip", "without min or max"),
        ("device.pattern=^app", "odd is 'keep', which takes no heed of it"),
        ("price={missing='constant', constant=1.23456}", "at most 4 decimals"),
        ("quantity={min=2, max=1, odd='clip'}", "at most max, 1"),
        ("price={missing='constant', constant=1e15}", "expected less than 100,000,000,000,000"),
        ("position={missing='constant', constant=3000000000}", "expected less than 2,147,483,648"),
        ("device.missing=median", "'most_frequent'"),
        ("price.event_types=['buy']", "nearest known"),
    ],
)
def test_a_policy_that_would_be_half_ignored_is_refused(policy: str, named: str) -> None:
    message = refusal(f"source.policies.{policy}")
    assert "source.policies" in message
    assert named in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("database.url", "postgresql://shop:hunter2@db/shop"),
        ("tracking.url", "postgresql://mlflow:hunter2@db/mlflow"),
        ("trackinguri", "postgresql://mlflow:hunter2@db/mlflow"),
        ("database.options.password", "{of='hunter2'}"),
        ("database.options", "['hunter2']"),
        ("items.options.pin", '["hunter2"]'),
        ("tracking.uri", "['http://mlflow:hunter2@db/']"),
    ],
)
def test_what_is_wrong_with_a_setting_is_said_without_its_secret(key: str, value: str) -> None:
    message = refusal("database.query=select '{date}'", f"{key}={value}")
    assert f"--set {key}" in message
    assert "hunter2" not in message


@pytest.mark.parametrize("name", ["password", "Password"])
def test_a_password_among_the_options_is_refused(name: str) -> None:
    sets = ["database.url=jdbc:x:y", "database.query={date}", f"database.options.{name}=hunter2"]
    assert "password_variable" in refusal(*sets)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no server at http://ann:hunter2@host/, is it up?", "no server at http://***@host/, is it up?"),
        ("s3a://AKIA:hun/ter2@bucket/t", "s3a://***@bucket/t"),
        ("s3:/AKIA:hun/ter2@bucket/t", "s3:***@bucket/t"),
        ("file:/logs/ann@example.org/x", None),
        ("mysql://u:p@hunter2@h/db", "mysql://***@h/db"),
        ("jdbc:oracle:thin:scott/hunter2@//db:1521/x", "jdbc:oracle:***@//db:1521/x"),
        ("jdbc:sqlserver://h;user=a;password={hun;ter2}", "jdbc:sqlserver://h;***"),
        ("jdbc:postgresql://h/d?user=a&sslpassword=hunter2", "jdbc:postgresql://h/d?***"),
        ("jdbc:postgresql://h/d?user=a&passwd=hun@ter2", "jdbc:postgresql:***"),
        ("jdbc:teradata://h/DATABASE=d,PASSWORD=hunter2", "jdbc:teradata://h/DATABASE=d,PASSWORD=***"),
        ("abfss://c@account/?sig=hunter2", "abfss://c@account/?***"),
        ("wasbs://c:hunter2@account/x", "wasbs://***@account/x"),
        ("https://a/b#access_token=hunter2", "https://a/b#***"),
        ("the driver said: password=hunter2 is wrong", "the driver said: password=*** is wrong"),
        ("nothing at hdfs://nn:8020/logs/2024-01-01/?.json; is it?", None),
        ("var/logs/{date}/*.json of ann@example.org", None),
    ],
)
def test_of_a_url_neither_who_asks_nor_what_is_asked_is_shown(text: str, shown: str | None) -> None:
    assert config.without_secrets(text) == (shown or text)


def test_of_options_those_alone_are_shown_that_hold_no_secret() -> None:
    settings = overlays.load(
        assignments=[
            "source.options={pem_private_key='hunter2', apikey='hunter2', Header='true', 'fs.azure.sas.c.a'='hunter2'}",
            "database.options={user='ann', Authorization='Bearer hunter2'}",
            "items.path=s3a://key:hunter2@bucket/items",
            "tracking.uri=http://mlflow.internal:5000",
        ]
    )
    shown = settings.flat()
    assert "hunter2" not in str(shown)
    assert (shown["source.options.Header"], shown["database.options.user"]) == ("true", "ann")
    assert shown["tracking.uri"] == "http://mlflow.internal:5000"


def test_options_of_spark_may_be_words_numbers_and_truths() -> None:
    settings = overlays.load(
        assignments=["source.options.header=true", "items.options.maxColumns=7", "items.options.sep=;"]
    )
    assert settings.source.options == {"header": "true"}
    assert settings.items.options == {"maxColumns": "7", "sep": ";"}


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        overlays.load([Path("nowhere.toml")])


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    overlay = tmp_path / "broken.toml"
    overlay.write_text("[sessions\n")
    with pytest.raises(ConfigurationError, match=r"broken\.toml"):
        overlays.load([overlay])


def test_later_words_count(tmp_path: Path) -> None:
    overlay = tmp_path / "shop.toml"
    overlay.write_text("[sessions]\ngap_minutes = 20\nmax_hours = 12\n")
    sessions = overlays.load([overlay], ["sessions.gap_minutes=10"]).sessions
    assert (sessions.gap_minutes, sessions.max_hours) == (10, 12)


@pytest.mark.parametrize("path", ["file://tables", "s3a:bucket/tables", "var/a`b"])
def test_what_is_no_place_of_tables_is_refused(path: str) -> None:
    assert f"store.root: {'String' if '`' in path else 'Value error'}" in refusal(f"store.root={path}")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("var/10:00/tables", f"{config.home()}/var/10:00/tables"),
        ("hdfs:///tables", "hdfs:///tables"),
        ("file:///data/tables", "file:/data/tables"),
        ("file:/data/tables", "file:/data/tables"),
    ],
)
def test_a_place_is_a_path_or_a_uri(path: str, place: str) -> None:
    assert config.absolute(overlays.load(assignments=[f"store.root={path}"]).store.root) == place


@pytest.mark.parametrize(
    "assignment",
    [
        "events.rejected_days=10000000", "sequences.daily_days=99999999", "evaluation.window_days=99999999",
        "events.clock_skew_minutes=99999999999", "sessions.gap_minutes=99999999999", "scoring.k=99999999999",
        "published_graph.half_life_days=1e9", "events.earliest=0001-01-01",
    ],
)  # fmt: skip
def test_what_no_date_and_no_integer_of_spark_can_be_is_refused(assignment: str) -> None:
    assert f"{assignment.partition('=')[0]}: Input should be" in refusal(assignment)


def test_candidates_may_be_compared_by_every_metric() -> None:
    for name in metric_names([5, 20]):
        assert overlays.load(assignments=["evaluation.ks=[5, 20]", f"promotion.metric={name}"])


def test_every_overlay_in_conf_is_valid() -> None:
    for overlay in (config.home() / "conf").glob("*.toml"):
        assert overlays.load([overlay]).store.root


def test_every_setting_of_base_has_a_comment() -> None:
    lines = (config.home() / "conf" / "base.toml").read_text().splitlines()
    assert [line for line in lines if " = " in line and " # " not in line] == []


def test_the_time_split_leaves_whole_windows_for_test_and_validation() -> None:
    cuts = overlays.load(assignments=["evaluation.window_days=7"]).evaluation.cuts(date(2017, 12, 31))
    assert cuts == (date(2017, 12, 17), date(2017, 12, 24), date(2017, 12, 31))


def test_a_fixed_cut_decides_the_split() -> None:
    settings = overlays.load(assignments=["evaluation.window_days=7", "evaluation.cut=2017-12-01"])
    assert settings.evaluation.cuts(date(2017, 12, 31)) == (date(2017, 11, 24), date(2017, 12, 1), date(2017, 12, 8))


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("sequences.max_events=10", "sequences.max_events is 10, expected at least examples.length"),
        ("sequences.daily_days=3", "sequences.daily_days is 3, expected at least events.max_late_days [+] 3, 10"),
        ("sequences.daily_days=9,events.clock_skew_minutes=0", "expected at least events.max_late_days [+] 3, 10"),
        ("sequences.daily_days=10,events.clock_skew_minutes=1440", "expected at least events.max_late_days [+] 4, 11"),
        ("promotion.metric=ndcg_at_7", "promotion.metric is 'ndcg_at_7', expected one at a cut-off of evaluation.ks"),
        ("promotion.metric=loss", "promotion.metric: String should match"),
        ("evaluation.ks=[]", "evaluation.ks: Tuple should have at least 1 item"),
        ("tracking.model_name=o'brien", "tracking.model_name: String should match"),
        ("model.span=1", "model.span is 1, expected at least examples.stride"),
    ],
)
def test_settings_that_do_not_fit_together_are_named(assignment: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        overlays.load(assignments=assignment.split(","))
