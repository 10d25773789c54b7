"""``settlement-engine simulate``: what it prints, and its exit codes."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from settlement_lab.commands.simulate import simulate
from settlement_lab.model import checking as model
from settlement_lab.model.mutations import MUTATIONS
from settlement_lab.model.rails import RAILS
from settlement_lab.mutants.catalogue import MUTANTS

CAUGHT = "silence_is_a_no"


def run(*arguments):
    return CliRunner().invoke(simulate, arguments)


def test_a_run_without_violations_prints_what_it_tested():
    found = run("--worlds", "3", "--seed", "5", "--jobs", "1")
    assert found.exit_code == 0, found.output
    assert "3 worlds in" in found.output
    assert "virtual hours" in found.output
    assert "0 worlds violated a guarantee" in found.output


def test_json_output_is_only_json():
    found = json.loads(run("--worlds", "2", "--jobs", "1", "--json").output)
    assert (found["worlds"], found["violated"], found["found"]) == (2, 0, [])
    assert found["faults"]
    assert found["worlds_per_second"] > 0


def test_a_violation_is_printed_with_the_command_that_reproduces_it():
    seed = str(MUTANTS[CAUGHT].seed)
    found = run("--mutant", CAUGHT, "--worlds", "1", "--seed", seed, "--jobs", "1")
    assert found.exit_code == 1
    assert "1 worlds violated a guarantee" in found.output
    command = f"settlement-engine simulate --world {seed} --mutant {CAUGHT}"
    assert f"reproduce it: {command}" in found.output
    again = run(*command.split()[2:])
    assert again.exit_code == 1
    assert "violated: " in again.output


def test_one_world_is_printed_in_full():
    found = run("--world", "1")
    assert found.exit_code == 0
    assert "every guarantee held" in found.output
    told = json.loads(run("--world", "1", "--json").output)
    assert told["digest"] in found.output
    assert told["broken"] == []


def test_mutants_are_listed():
    listed = run("--list-mutants").output
    assert all(name in listed for name in (*MUTANTS, *MUTATIONS))


def test_schedules_run_on_their_own_server():
    found = run("--schedules", "3", "--seed", "7", "--jobs", "1")
    assert found.exit_code == 0, found.output
    assert "3 schedules on PostgreSQL in" in found.output
    assert "0 schedules violated a guarantee" in found.output


def test_the_model_prints_the_path_to_a_violation():
    found = run("--model", "--mutant", "void on silence")
    assert found.exit_code == 1
    assert "   1. " in found.output
    told = json.loads(run("--model", "--mutant", "void on silence", "--json").output)
    assert told["broken"]
    assert len(told["trace"]) > 1


def test_the_model_counts_states_and_transitions(monkeypatch):
    monkeypatch.setattr(model, "RAILS", RAILS[-1:])
    found = run("--model")
    assert found.exit_code == 0, found.output
    assert "no violation" in found.output


@pytest.mark.parametrize(
    "wrong",
    [
        ("--model", "--schedules", "3"),
        ("--world", "1", "--model"),
        ("--schedules", "2", "--mutant", CAUGHT),
        ("--worlds", "2", "--statements"),
        ("--model", "--mutant", CAUGHT),
    ],
)
def test_options_that_exclude_each_other_are_refused(wrong):
    found = run(*wrong)
    assert found.exit_code == 2
    assert "Error" in found.output


@pytest.mark.parametrize("arguments", [("--mutant", "nobody"), ("--worlds", "0"), ("--jobs", "0")])
def test_invalid_values_are_refused(arguments):
    assert run(*arguments).exit_code == 2
