"""The exported contract: it is what the code says, and a change that breaks somebody is refused."""

import copy
import json
import subprocess
import sys

import pytest

from tally.events.compatibility import compare, main, read_commit, read_folder
from tally.events.export import SCHEMAS, export, render, schemas


@pytest.fixture
def current():
    return copy.deepcopy(schemas())


def test_the_files_are_what_the_code_says():
    expected = {name: render(schema) for name, schema in schemas().items()}
    found = {path.name: path.read_text() for path in SCHEMAS.glob("*.json")}
    assert found == expected, "run `make generate`"


def test_an_export_removes_what_is_no_more(tmp_path):
    (tmp_path / "gone.json").write_text("{}")
    export(tmp_path)
    assert read_folder(tmp_path) == schemas()


def test_the_contract_is_compatible_with_itself(current):
    assert compare(schemas(), current) == []


def test_nothing_that_is_committed_breaks():
    assert compare(read_commit(), schemas()) == []


def slot(schema):
    return schema["slot_spin.json"]["properties"]["context"]


def remove_field(schema):
    del slot(schema)["properties"]["units"]


def rename_field(schema):
    fields = slot(schema)["properties"]
    fields["stake"] = fields.pop("bet")


def change_type(schema):
    slot(schema)["properties"]["is_demo"]["type"] = "integer"


def widen_type(schema):
    slot(schema)["properties"]["round_id"] = {"anyOf": [{"type": "string"}, {"type": "integer"}]}


def require_field(schema):
    slot(schema)["required"].append("units")


def require_new_field(schema):
    schema["envelope.json"]["properties"]["tenant"] = {"type": "string"}
    schema["envelope.json"]["required"].append("tenant")


def require_under_condition(schema):
    slot(schema)["then"]["required"].append("result")


def narrow_enum(schema):
    slot(schema)["properties"]["state"]["enum"].remove("voided")


def narrow_maximum(schema):
    slot(schema)["properties"]["bet"]["maximum"] = 10


def raise_minimum(schema):
    slot(schema)["properties"]["bet"]["minimum"] = 1


def add_limit(schema):
    slot(schema)["properties"]["config_version"]["anyOf"][1]["maximum"] = 9


def shorten_context(schema):
    slot(schema)["x-max-bytes"] = 1024


def add_pattern(schema):
    slot(schema)["properties"]["round_id"]["pattern"] = "^r"


def refuse_unknown_fields(schema):
    slot(schema)["additionalProperties"] = False


def remove_action_type(schema):
    del schema["slot_spin.json"]


def change_initiator(schema):
    schema["slot_spin.json"]["x-initiator"] = "system"


def change_default(schema):
    slot(schema)["properties"]["state"]["default"] = "started"


@pytest.mark.parametrize(
    ("change", "path", "broken"),
    [
        (remove_field, "slot_spin.context.units", "consumers"),
        (rename_field, "slot_spin.context.bet", "consumers"),
        (change_type, "slot_spin.context.is_demo", "producers and consumers"),
        (widen_type, "slot_spin.context.round_id", "producers and consumers"),
        (require_field, "slot_spin.context.units", "producers"),
        (require_new_field, "envelope.tenant", "producers"),
        (require_under_condition, "slot_spin.context", "producers"),
        (narrow_enum, "slot_spin.context.state", "producers"),
        (narrow_maximum, "slot_spin.context.bet", "producers"),
        (raise_minimum, "slot_spin.context.bet", "producers"),
        (add_limit, "slot_spin.context.config_version", "producers"),
        (shorten_context, "slot_spin.context", "producers"),
        (add_pattern, "slot_spin.context.round_id", "producers"),
        (refuse_unknown_fields, "slot_spin.context", "producers"),
        (remove_action_type, "slot_spin", "producers and consumers"),
        (change_initiator, "slot_spin", "consumers"),
        (change_default, "slot_spin.context.state", "consumers"),
    ],
)
def test_a_breaking_change_names_who_breaks(current, change, path, broken):
    change(current)
    found = compare(schemas(), current)
    assert [(b.path, b.breaks) for b in found] == [(path, broken)], found


def add_optional_field(schema):
    slot(schema)["properties"]["wheel"] = {"type": "string"}


def add_action_type(schema):
    schema["tournament_join.json"] = schema["level_up.json"]


def widen_enum(schema):
    slot(schema)["properties"]["state"]["enum"].append("expired")


def widen_range(schema):
    slot(schema)["properties"]["round_id"]["maxLength"] = 1000


def drop_requirement(schema):
    slot(schema)["then"]["required"].remove("payout")


@pytest.mark.parametrize(
    "change", [add_optional_field, add_action_type, widen_enum, widen_range, drop_requirement]
)
def test_a_change_that_breaks_nobody_passes(current, change):
    before = copy.deepcopy(current)
    change(current)
    assert current != before
    assert compare(schemas(), current) == []


def test_the_command_prints_each_breakage_and_fails(tmp_path):
    export(tmp_path)
    path = tmp_path / "level_up.json"
    older = json.loads(path.read_text())
    older["properties"]["context"]["properties"]["guild"] = {"type": "string"}
    path.write_text(json.dumps(older))
    done = subprocess.run(
        [sys.executable, "-m", main.callback.__module__, str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "level_up.context.guild: field removed or renamed (breaks consumers)" in done.stderr


def test_a_folder_without_schemas_is_an_error(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tally.events.compatibility", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "holds no schema" in done.stderr
