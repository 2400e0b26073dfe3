"""What the runner gave: env.yaml and config.yaml through a naive reader of the little YAML that the contract uses."""

import time
from pathlib import Path


class ContractError(Exception):
    """What this image refuses; ``code`` goes into monitor.txt."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Job:
    def __init__(self, env, config):
        self.env = env
        self.config = config
        self.task_id = str(env.get("task_id") or "0")
        self.kinds = [kind for kind in ("training", "mining", "infer") if env.get(f"run_{kind}")]
        self.class_names = [str(name) for name in config.get("class_names") or []]

    @classmethod
    def read(cls, path):
        env = read_yaml(path)
        return cls(env, read_yaml((env.get("input") or {}).get("config_file") or "/in/config.yaml"))

    def input(self, name):
        """A path of env.yaml as it stands there; '' when unused."""
        return (self.env.get("input") or {}).get(name) or ""

    def output(self, name):
        return Path((self.env.get("output") or {})[name])

    def rows(self, name):
        """The rows of an index file as lists of columns; every first column must be a file."""
        path = self.input(name)
        if not path:
            return []
        rows = [line.split("\t") for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
        for row in rows:
            if not Path(row[0]).is_file():
                raise ContractError(300002, f"{path} names {row[0]}, which is not there")
        return rows

    def candidates(self):
        return [row[0] for row in self.rows("candidate_index_file")]

    def progress(self, fraction, state=2, code=0, message=""):
        """monitor.txt, replaced in one step so that no reader sees half of it."""
        row = "\t".join([self.task_id, f"{time.time():.6f}", f"{fraction:.2f}", str(state), str(code), message]).rstrip("\t")
        path = self.output("monitor_file")
        aside = path.with_name(path.name + ".new")
        aside.write_text(row + "\n", encoding="utf-8")
        aside.replace(path)


def read_yaml(path):
    """A mapping of scalars, flow or block lists, and mappings one level down. Enough for config.yaml and env.yaml."""
    top, section = {}, None
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("- "):
            top[section] = [*(top[section] or []), scalar(text[2:])]
        elif line.startswith(" "):
            key, _, value = text.partition(":")
            top[section] = {**(top[section] or {}), key: scalar(value)}
        else:
            section, _, value = text.partition(":")
            top[section] = scalar(value)
    return top


def scalar(text):
    text = text.strip()
    if text[:1] in ("'", '"') and text[-1:] == text[:1] and len(text) > 1:
        return text[1:-1]
    text = text.split(" #")[0].strip()
    if text.startswith("[") and text.endswith("]"):
        return [scalar(part) for part in text[1:-1].split(",") if part.strip()]
    words = {"true": True, "false": False, "null": None, "~": None, "": None, "{}": {}}
    return words.get(text, text)
