"""What is generated is fresh, and setup.cfg asks for what it needs."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_generated_files_are_what_the_proto_gives() -> None:
    answer = subprocess.run([sys.executable, "scripts/generate-rpc", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_setup_cfg_asks_for_the_versions_that_the_generated_files_need() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    wanted = settings["options"]["install_requires"]
    messages = (ROOT / "contracts/rpc/sluice_pb2.py").read_text()
    protobuf = re.search(r"Protobuf Python Version: (\S+)", messages)
    grpc = re.search(r"GRPC_GENERATED_VERSION = '(\S+)'", (ROOT / "contracts/rpc/sluice_pb2_grpc.py").read_text())
    assert protobuf
    assert grpc
    assert f"protobuf >= {protobuf[1]}\n" in f"{wanted}\n"
    assert f"grpcio >= {grpc[1]}\n" in f"{wanted}\n"
