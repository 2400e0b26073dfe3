"""What the probe does instead of its work, by the name in the parameter ``behaviour``; ``name:argument`` where one is taken."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def exit_with(job, argument):
    """``exit:N``: a word of its own in monitor.txt, then the code."""
    code = int(argument or 1)
    job.progress(0.5, state=4 if code else 3, code=300002 if code else 0, message="asked to fail" if code else "")
    print(f"probe: exit {code}", flush=True)
    sys.exit(code)


def silent(job, argument):
    """Exits 0 and leaves nothing."""
    sys.exit(0)


def malformed(job, argument):
    """Exits 0 and leaves results that nobody can read."""
    job.output("models_dir").mkdir(parents=True, exist_ok=True)
    for name in ("training_result_file", "mining_result_file", "infer_result_file"):
        job.output(name).write_bytes(b"\xff{not: a [result\x00\n")
    sys.exit(0)


def partial(job, argument):
    """Training that leaves one good stage and then fails."""
    from app import write_result, write_stage

    write_stage(job, "epoch_1", 0.25)
    write_result(job, [("epoch_1", 0.25)])
    job.progress(0.4, state=4, code=300103, message="out of memory on the card")
    sys.exit(1)


def hang(job, argument):
    """Waits for ever; ends by SIGTERM as Python does, without a word."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    mark(job, "ready")
    while True:
        time.sleep(3600)


def catch_term(job, argument):
    """Waits for SIGTERM, writes /out/terminated and exits 0: a training that keeps its checkpoint."""

    def finish(signum, frame):
        mark(job, "terminated")
        print("probe: terminated politely", flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, finish)
    mark(job, "ready")
    while True:
        time.sleep(3600)


def ignore_term(job, argument):
    """Only SIGKILL ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mark(job, "ready")
    while True:
        time.sleep(3600)


def out_of_memory(job, argument):
    """Takes memory until something stops it, at most ``argument`` MiB (4096)."""
    print("probe: taking memory", flush=True)
    hog = [bytearray(os.urandom(1024)) * 1024 for _ in range(int(argument or 4096))]
    print(f"probe: took {len(hog)} MiB and nothing stopped it", flush=True)
    sys.exit(5)


def out_of_memory_child(job, argument):
    """A child runs out of memory; the parent survives it and exits 3."""
    code = subprocess.call([sys.executable, "-c", "hog = [bytearray(2**20) for _ in range(4096)]"])
    print(f"probe: child ended {code}", flush=True)
    sys.exit(3)


def kill_self(job, argument):
    """Ends by SIGKILL, which is not running out of memory."""
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def crash(job, argument):
    """An exception with a traceback on stderr."""
    raise RuntimeError("a defect in the image")


def flood(job, argument):
    """``flood:BYTES`` of numbered lines on stdout (5 MB), every 1000th on stderr; then exits 0."""
    wanted, written, number = int(argument or 5_000_000), 0, 0
    while written < wanted:
        line = f"{number:09d} {'x' * 89}\n"
        stream = sys.stderr if number % 1000 == 999 else sys.stdout
        if stream is sys.stderr:
            sys.stdout.flush()
        stream.write(line)
        stream.flush() if stream is sys.stderr else None
        written, number = written + len(line), number + 1
    sys.stdout.flush()


def long_lines(job, argument):
    """Lines longer than any buffer, bytes that are no text, and a last line without its end."""
    out = sys.stdout.buffer
    out.write(b"a" * 100_000 + b"\n" + "é".encode() * 40_000 + b"\n" + b"\xff\xfe tail without end")
    out.flush()


def talk(job, argument):
    """``talk:N`` lines, one every 20 ms."""
    for number in range(int(argument or 50)):
        print(f"line {number}", flush=True)
        time.sleep(0.02)


def spawn_child(job, argument):
    """Leaves a process behind in a session of its own that ignores SIGTERM and beats into /out/child-beat; waits for ever itself."""
    code = (
        "import os, signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "while True:\n    open(sys.argv[1], 'w').write(f'{os.getpid()} {time.time()}')\n    time.sleep(0.05)\n"
    )
    argv = [sys.executable, "-c", code, str(job.output("root_dir") / "child-beat")]
    subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=argument == "session")
    hang(job, "")


def orphans(job, argument):
    """Makes orphans that end at once, then counts those that its own parent, the first process, has not reaped."""
    for _ in range(20):
        subprocess.call(["bash", "-c", "(sleep 0.05 &)"])
    time.sleep(1.0)
    print(f"probe: zombies {count_zombies()}", flush=True)


def count_zombies():
    count = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        count += fields[0] == "Z" and int(fields[1]) in (os.getppid(), os.getpid())
    return count


def print_env(job, argument):
    """Writes /out/env.json: the environment, arguments and working directory it was started with."""
    started = {"env": dict(os.environ), "cwd": str(Path.cwd()), "argv": sys.argv, "hostname": socket.gethostname()}
    (job.output("root_dir") / "env.json").write_text(json.dumps(started), encoding="utf-8")


def look_around(job, argument):
    """Writes /out/walls.json: what it is and is not allowed to do."""
    walls = {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "in_writable": can_write(job.input("root_dir")),
        "out_writable": can_write(job.output("root_dir")),
        "root_writable": can_write("/"),
        "app_writable": can_write("/app"),
        "home_writable": can_write(os.environ.get("HOME") or "/root"),
        "tmp_executable": can_execute("/tmp"),
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        "status": status_lines("CapEff", "CapBnd", "NoNewPrivs", "Seccomp"),
        "shm_bytes": shm_bytes(),
        "first_process": first_process(),
    }
    (job.output("root_dir") / "walls.json").write_text(json.dumps(walls), encoding="utf-8")


def can_write(folder):
    path = Path(folder) / ".probe-write"
    try:
        path.write_text("x")
        path.unlink()
    except OSError:
        return False
    return True


def can_execute(folder):
    path = Path(folder) / "probe-run.sh"
    try:
        path.write_text("#!/bin/sh\nexit 7\n")
        path.chmod(0o755)
        return subprocess.call([str(path)]) == 7
    except OSError:
        return False
    finally:
        if path.exists():
            path.unlink()


def status_lines(*names):
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    pairs = [line.split(":\t", 1) for line in lines if ":\t" in line]
    return {name: value for name, value in pairs if name in names}


def shm_bytes():
    facts = os.statvfs("/dev/shm")
    return facts.f_blocks * facts.f_frsize


def first_process():
    return Path("/proc/1/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()


def own_log(job, argument):
    """Says a line, waits until it can be read in the log, then writes /out/own-log.json."""
    print("probe: one line", flush=True)
    log = job.output("executor_log_file")
    for _ in range(100):
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else []
        if "probe: one line\n" in lines:
            break
        time.sleep(0.1)
    try:
        log.open("a").close()
        writable = True
    except OSError:
        writable = False
    (job.output("root_dir") / "own-log.json").write_text(json.dumps({"text": lines[-1], "writable": writable}), encoding="utf-8")


def make_links(job, argument):
    """Leaves a folder full of traps for whoever copies it out: links up and out, a fifo, odd names."""
    folder = job.output("root_dir") / "traps"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "good.txt").write_text("good")
    (folder / "absolute-link").symlink_to("/etc/passwd")
    (folder / "upward-link").symlink_to("../../../../etc")
    (folder / "inner-link").symlink_to("inner")
    os.mkfifo(folder / "fifo")
    hang(job, "")


def fill_disk(job, argument):
    """``fill-disk:MIB`` into /out until it is full."""
    with (job.output("root_dir") / "filler").open("wb") as file:
        for _ in range(int(argument or 1024)):
            file.write(b"\0" * 2**20)
    sys.exit(0)


def mark(job, name):
    (job.output("root_dir") / name).write_text(str(os.getpid()))


BEHAVIOURS = {
    "exit": exit_with,
    "silent": silent,
    "malformed": malformed,
    "partial": partial,
    "hang": hang,
    "catch-term": catch_term,
    "ignore-term": ignore_term,
    "oom": out_of_memory,
    "oom-child": out_of_memory_child,
    "kill-self": kill_self,
    "crash": crash,
    "flood": flood,
    "long-lines": long_lines,
    "talk": talk,
    "spawn-child": spawn_child,
    "orphans": orphans,
    "print-env": print_env,
    "look-around": look_around,
    "own-log": own_log,
    "make-links": make_links,
    "fill-disk": fill_disk,
}
