"""The methods of the service. Most are the verb of the same name, called with the request's fields; the streams are written out below.

No method holds a thread while it waits: watching and following are coroutines, and only a verb at work has a thread.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from contracts.errors import UnavailableError
from contracts.job import JobState
from contracts.rpc import sluice_pb2 as pb
from contracts.rpc.documents import to_message
from contracts.rpc.speech import spoken
from runner.rpc.doors import Caller, Door
from runner.rpc.news import News
from runner.rpc.refusals import refuse, refuse_unknown
from runner.rpc.requests import arguments, parse
from runner.rpc.threads import Threads
from runner.rpc.updates import Updates, name_of_callback, seldom
from runner.settings import Settings

if TYPE_CHECKING:
    from runner.service import Runner

SERVICE = pb.DESCRIPTOR.services_by_name["Sluice"]
#: Verbs that may take minutes; they have threads of their own, so that the others never wait for them.
SLOW = frozenset(
    {
        "AddImage",
        "AnalyseDataset",
        "BuildImage",
        "CheckConnection",
        "CheckModel",
        "CompareDatasets",
        "ContactSheet",
        "DeriveDataset",
        "Doctor",
        "Evaluate",
        "ExportAnalysis",
        "ExportDataset",
        "ExportModel",
        "FetchModel",
        "FindNearDuplicates",
        "Gc",
        "ImportDataset",
        "ImportModel",
        "RemoveModel",
        "RerunJob",
        "SampleDataset",
    }
)
_QUICK_THREADS, _SLOW_THREADS = 16, 8
_LOOK_S = 1.0
_COUNT_INTERVAL_S = 0.1
_LOG_BYTES = 1 << 20
_LOG_WAITS_S = (0.02, 0.05, 0.1, 0.2)
_ENDED = frozenset(str(state) for state in JobState if state.ended)


class Work:
    """What the doors of one server share. Made in its event loop."""

    def __init__(self, runner: Runner, settings: Settings) -> None:
        self.runner = runner
        self.settings = settings
        self.quick = Threads(_QUICK_THREADS, "rpc")
        self.slow = Threads(_SLOW_THREADS, "rpc slow")
        self.news = News(runner._installation.bell.count)
        self.closing = asyncio.Event()
        self.open_streams = 0

    def threads_for(self, method: str) -> Threads:
        return self.slow if method in SLOW else self.quick

    def close(self) -> None:
        self.closing.set()
        self.quick.close()
        self.slow.close()


class Servicer:
    """The service at one door."""

    def __init__(self, work: Work, door: Door) -> None:
        self._work = work
        self._door = door
        self._own: dict[str, Callable[[MethodDescriptor], Any]] = {
            "Describe": self._describe,
            "CancelJob": self._cancel,
            "Watch": self._watch,
            "ReadJobLog": self._read_log,
        }

    def handlers(self) -> grpc.GenericRpcHandler:
        """Bytes in, bytes out: messages are read and made in the threads of the verbs."""
        made = {}
        for method in SERVICE.methods:
            if method.server_streaming:
                made[method.name] = grpc.unary_stream_rpc_method_handler(self._stream(self._own.get(method.name, self._long)(method)))
            else:
                made[method.name] = grpc.unary_unary_rpc_method_handler(self._single(self._own.get(method.name, self._plain)(method)))
        return grpc.method_handlers_generic_handler(SERVICE.full_name, made)

    # ------------------------------------------------------------------------------------------------- verbs as they are

    def _plain(self, method: MethodDescriptor) -> Any:
        """The verb, and its answer as a message."""
        request_type, answer_type = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        verb = getattr(self._work.runner, verb_name(method.name))
        threads = self._work.threads_for(method.name)

        async def answer(data: bytes, caller: Caller) -> bytes:
            return await threads.run(lambda: _packed(verb(**self._arguments(parse(request_type, data), caller)), answer_type))

        return answer

    def _long(self, method: MethodDescriptor) -> Any:
        """A verb that says how far it is: its words, then its answer."""
        request_type, answer_type = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        verb = getattr(self._work.runner, verb_name(method.name))
        callback = name_of_callback(inspect.signature(verb).parameters)
        threads = self._work.threads_for(method.name)

        async def answer(data: bytes, caller: Caller) -> AsyncIterator[bytes]:
            updates = Updates()
            say = _progress(answer_type, updates)

            def work() -> bytes:
                given = self._arguments(parse(request_type, data), caller)
                return _packed({"result": verb(**given, **{callback: say})}, answer_type)

            running = threads.submit(work)
            try:
                async for update in updates.until(running):
                    yield update
            finally:
                updates.give_up()
                running.cancel()

        return answer

    def _arguments(self, request: Message, caller: Caller) -> dict[str, Any]:
        given = arguments(request, caller)
        if isinstance(request, pb.AddImageRequest) and self._work.settings.engine == "process":
            given["reference"] = str(caller.check_path(request.reference, "reference"))  # on this engine images are folders
        return given

    # ------------------------------------------------------------------------------------------------------- those of our own

    def _describe(self, _: MethodDescriptor) -> Any:
        async def answer(data: bytes, caller: Caller) -> bytes:  # noqa: ARG001 - the same for everybody
            parse(pb.DescribeRequest, data)
            settings = self._work.settings
            return _packed({**spoken(), "home": str(settings.home), "engine": settings.engine}, pb.Description)

        return answer

    def _cancel(self, _: MethodDescriptor) -> Any:
        async def answer(data: bytes, caller: Caller) -> bytes:
            given = arguments(parse(pb.CancelJobRequest, data), caller)
            wait = given.pop("wait", True)
            job = await self._call(self._work.runner.cancel_job, **given, wait=False)
            if wait and job["state"] not in _ENDED:
                async for change in self._changes(job["id"]):
                    job = change
            return _packed(job, pb.Job)

        return answer

    def _watch(self, _: MethodDescriptor) -> Any:
        async def answer(data: bytes, caller: Caller) -> AsyncIterator[bytes]:
            given = arguments(parse(pb.WatchRequest, data), caller)
            job = await self._call(self._work.runner.get_job, **given)
            async for change in self._changes(job["id"]):
                yield _packed(change, pb.Job)

        return answer

    async def _changes(self, job_id: str) -> AsyncIterator[dict[str, Any]]:
        """The job now and each time it changes, until it has ended."""
        shown = None
        while shown is None or shown["state"] not in _ENDED:
            seen = self._work.news.count(job_id)
            job = await self._call(self._work.runner.get_job, reference=job_id)
            if job != shown:
                yield job
                shown = job
            else:
                await self._work.news.wait(job_id, seen, _LOOK_S)
            self._refuse_when_closing()

    def _read_log(self, _: MethodDescriptor) -> Any:
        async def answer(data: bytes, caller: Caller) -> AsyncIterator[bytes]:
            given = arguments(parse(pb.ReadJobLogRequest, data), caller)
            job = await self._call(self._work.runner.get_job, reference=given["reference"])
            async for chunk in self._chunks(job["id"], given["offset"], given["follow"], given.get("max_bytes")):
                yield chunk.SerializeToString()

        return answer

    async def _chunks(self, job_id: str, offset: int, follow: bool, left: int | None) -> AsyncIterator[pb.LogChunk]:
        """Looks often while there is output, and less often the longer there is none."""
        idle = 0
        while follow or left is None or left > 0:
            size = _LOG_BYTES if follow or left is None else min(left, _LOG_BYTES)
            data, offset, ended = await self._call(self._work.runner.read_job_log, reference=job_id, offset=offset, max_bytes=size)
            if data or ended:
                yield pb.LogChunk(data=data, next_offset=offset, ended=ended)
            if ended or not (data or follow):
                return
            left = None if left is None else left - len(data)
            idle = 0 if data else min(idle + 1, len(_LOG_WAITS_S) - 1)
            if not data:
                await asyncio.sleep(_LOG_WAITS_S[idle])
            self._refuse_when_closing()

    async def _call(self, verb: Callable[..., Any], **given: Any) -> Any:
        return await self._work.quick.run(lambda: verb(**given))

    def _refuse_when_closing(self) -> None:
        if self._work.closing.is_set():
            raise UnavailableError("the service is stopping; running jobs go on", hint="Ask the next one.", lost=True)

    # --------------------------------------------------------------------------------------------- who asks, and how it ends

    def _single(self, answer: Any) -> Any:
        async def handle(data: bytes, context: grpc.aio.ServicerContext) -> bytes:
            caller = self._door.caller(context.invocation_metadata()) or await refuse_unknown(context)
            try:
                return bytes(await answer(data, caller))
            except Exception as error:
                failure = error
            await refuse(context, failure)

        return handle

    def _stream(self, answer: Any) -> Any:
        async def handle(data: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            caller = self._door.caller(context.invocation_metadata()) or await refuse_unknown(context)
            self._work.open_streams += 1
            try:
                async with aclosing(answer(data, caller)) as messages:
                    async for message in messages:
                        yield message
                return
            except Exception as error:
                failure = error
            finally:
                self._work.open_streams -= 1
            await refuse(context, failure)

        return handle


def verb_name(method: str) -> str:
    """``get_job`` for GetJob: the verb of the Runner that a method stands for."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower()


def _packed(document: Any, answer_type: type[Message]) -> bytes:
    return bytes(to_message(document, answer_type).SerializeToString())


def _progress(answer_type: type[Message], updates: Updates) -> Callable[..., None]:
    """A callback whose arguments are the fields of the answer's ``progress``, in their order."""
    progress = answer_type.DESCRIPTOR.fields_by_name["progress"].message_type
    names = [field.name for field in progress.fields]

    def say(*words: Any) -> None:
        updates.say(_packed({"progress": dict(zip(names, words, strict=True))}, answer_type))

    return seldom(say, _COUNT_INTERVAL_S) if progress is pb.Count.DESCRIPTOR else say
