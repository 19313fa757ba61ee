"""The messages described at run time are those that a client of the protocol was generated from."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from ssljax.serve.grpc_messages import METHODS, SERVICE, message_classes
from ssljax.serve.grpc_service import serving_grpc

grpc = pytest.importorskip("grpc")
service = pytest.importorskip("tritonclient.grpc.service_pb2")


@pytest.fixture(scope="module")
def kinds():
    return message_classes()


def test_requests_cross_in_both_directions(kinds):
    theirs = service.ModelInferRequest(model_name="m", model_version="2", id="7",
                                       raw_input_contents=[b"\1\2", b""])
    theirs.parameters["p"].string_param = "x"
    one = theirs.inputs.add(name="text", datatype="BYTES", shape=[3, -1])
    one.contents.bytes_contents.append(b"hi")
    one.parameters["q"].int64_param = -5
    theirs.outputs.add(name="embedding").parameters["r"].bool_param = True
    ours = kinds["ModelInferRequest"].FromString(theirs.SerializeToString())
    assert ours.inputs[0].contents.bytes_contents == [b"hi"]
    assert ours.raw_input_contents == [b"\1\2", b""]
    assert ours.parameters["p"].string_param == "x" and ours.outputs[0].name == "embedding"
    assert service.ModelInferRequest.FromString(ours.SerializeToString()) == theirs


@pytest.mark.parametrize("name", [f"{method}{end}" for method in METHODS
                                  for end in ("Request", "Response")] + [
    "InferParameter", "InferTensorContents"])
def test_fields_have_the_numbers_and_types_of_the_published_file(kinds, name):
    theirs = {field.name: field for field in getattr(service, name).DESCRIPTOR.fields}
    for field in kinds[name].DESCRIPTOR.fields:
        other = theirs[field.name]
        assert (field.number, field.type, field.is_repeated) == (
            other.number, other.type, other.is_repeated)


def test_an_overload_says_when_to_try_again(kinds):
    async def busy(request):
        return JSONResponse({"error": "The queue is full."}, 429, {"Retry-After": "7"})

    async def ask():
        app = Starlette(routes=[Route("/v2/models/m", busy)])
        async with (serving_grpc(app, "127.0.0.1:0") as port,
                    grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel):
            method = channel.unary_unary(
                f"/{SERVICE}/ModelMetadata",
                request_serializer=kinds["ModelMetadataRequest"].SerializeToString,
                response_deserializer=kinds["ModelMetadataResponse"].FromString)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await method(kinds["ModelMetadataRequest"](name="m"))
        return caught.value

    refused = asyncio.run(ask())
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.details() == "The queue is full."
    assert dict(refused.trailing_metadata())["retry-after"] == "7"
