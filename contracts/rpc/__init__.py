"""The gRPC door's words: the messages (``sluice.proto``), how they become JSON documents, and how errors travel."""
