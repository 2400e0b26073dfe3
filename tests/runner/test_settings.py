from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from runner.settings import Settings, environment_of, load_settings


def test_an_option_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "sluice.cfg").write_text("[sluice]\nengine = a\ngpus = a\npids_limit = 7\n")
    settings = load_settings({"engine": "c"}, {"SLUICE_HOME": str(tmp_path), "SLUICE_ENGINE": "b", "SLUICE_GPUS": "b"})
    assert (settings.engine, settings.gpus, settings.pids_limit, settings.stop_grace_s) == ("c", "b", 7, 10.0)


def test_a_misspelt_setting_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "sluice.cfg").write_text("[sluice]\nengin = docker\n")
    with pytest.raises(ConfigurationError, match=r"(?s)sluice\.cfg: there is no setting 'engin'.*engine"):
        load_settings({"home": str(tmp_path)}, {})


@pytest.mark.parametrize(("name", "value"), [("pids_limit", "many"), ("poll_interval_s", "fast")])
def test_a_value_of_the_wrong_type_is_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is '{value}'"):
        load_settings({"home": str(tmp_path), name: value}, {})


def test_a_file_that_is_no_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "sluice.cfg").write_text("engine: docker")
    with pytest.raises(ConfigurationError, match=r"sluice\.cfg cannot be read"):
        load_settings({"home": str(tmp_path)}, {})


def test_another_process_gets_the_same_settings_from_the_environment(tmp_path: Path) -> None:
    settings = load_settings({"home": str(tmp_path), "engine": "process", "hold_after_s": "3"}, {})
    assert load_settings({}, environment_of(settings)) == settings


def test_other_variables_that_begin_with_the_name_are_left_to_their_owners(tmp_path: Path) -> None:
    assert load_settings({"home": str(tmp_path)}, {"SLUICE_FAKE_GPUS": "x.json"}).gpus == "nvml"


def test_every_setting_is_explained_in_the_default_file() -> None:
    lines = (Path(__file__).parents[2] / "runner" / "default.cfg").read_text().splitlines()
    for field in (field for field in fields(Settings) if field.name != "listener_options"):
        index = next(i for i, line in enumerate(lines) if line.startswith(f"{field.name} ="))
        assert lines[index - 1].startswith("# "), field.name


@pytest.mark.parametrize(("name", "value"), [("gpu_injection", "magic"), ("log_format", "xml")])
def test_a_word_that_no_setting_knows_is_refused_with_those_it_does(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is '{value}'") as caught:
        load_settings({"home": str(tmp_path), name: value}, {})
    assert "Known: " in caught.value.hint
