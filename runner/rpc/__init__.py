"""The gRPC door of ``sluice serve``: parse, make one call to the Runner, answer. docs/notes/rpc.md has the reasons."""

from runner.rpc.server import RpcServer, check_tcp

__all__ = ["RpcServer", "check_tcp"]
