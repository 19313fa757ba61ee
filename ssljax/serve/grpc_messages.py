"""The messages of KServe's open inference protocol in gRPC, described at run time.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto
In every message of it the fields are numbered 1, 2, 3 ... in their order, so a message is the list
of its fields. Described here, they need no generated code and no compiler of protocol buffers.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

PARAMETERS = "map InferParameter parameters"
TENSOR = ("string name", "string datatype", "repeated int64 shape", PARAMETERS,
          "InferTensorContents contents")

MESSAGES: Mapping[str, tuple[str, ...]] = {
    "ServerLiveRequest": (), "ServerLiveResponse": ("bool live",),
    "ServerReadyRequest": (), "ServerReadyResponse": ("bool ready",),
    "ModelReadyRequest": ("string name", "string version"),
    "ModelReadyResponse": ("bool ready",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("string name", "string version", "repeated string extensions"),
    "ModelMetadataRequest": ("string name", "string version"),
    "ModelMetadataResponse.TensorMetadata": ("string name", "string datatype",
                                             "repeated int64 shape"),
    "ModelMetadataResponse": (
        "string name", "repeated string versions", "string platform",
        "repeated ModelMetadataResponse.TensorMetadata inputs",
        "repeated ModelMetadataResponse.TensorMetadata outputs"),
    "InferParameter": (
        "oneof bool bool_param", "oneof int64 int64_param", "oneof string string_param",
        "oneof double double_param", "oneof uint64 uint64_param"),
    "InferTensorContents": (
        "repeated bool bool_contents", "repeated int32 int_contents",
        "repeated int64 int64_contents", "repeated uint32 uint_contents",
        "repeated uint64 uint64_contents", "repeated float fp32_contents",
        "repeated double fp64_contents", "repeated bytes bytes_contents"),
    "ModelInferRequest.InferInputTensor": TENSOR,
    "ModelInferRequest.InferRequestedOutputTensor": ("string name", PARAMETERS),
    "ModelInferRequest": (
        "string model_name", "string model_version", "string id", PARAMETERS,
        "repeated ModelInferRequest.InferInputTensor inputs",
        "repeated ModelInferRequest.InferRequestedOutputTensor outputs",
        "repeated bytes raw_input_contents"),
    "ModelInferResponse.InferOutputTensor": TENSOR,
    "ModelInferResponse": (
        "string model_name", "string model_version", "string id", PARAMETERS,
        "repeated ModelInferResponse.InferOutputTensor outputs",
        "repeated bytes raw_output_contents"),
}
METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata",
           "ModelInfer")

Field = descriptor_pb2.FieldDescriptorProto


def message_classes() -> dict[str, type]:
    """Return the class of each message, by its name."""
    file = descriptor_pb2.FileDescriptorProto(name="ssljax/open_inference.proto", package=PACKAGE,
                                              syntax="proto3")
    made: dict[str, Any] = {}
    for name in sorted(MESSAGES, key=lambda name: name.count(".")):      # outer ones first
        outer, _, inner = name.rpartition(".")
        made[name] = (made[outer].nested_type if outer else file.message_type).add(name=inner)
        for number, field in enumerate(MESSAGES[name], start=1):
            add_field(made[name], f".{PACKAGE}.{name}", field, number)
    pool = descriptor_pool.DescriptorPool()     # our own: a client in this process has the same
    pool.Add(file)
    return {name: message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES}


def add_field(message: Any, full_name: str, field: str, number: int) -> None:
    """Add a field, spelled "[repeated | map | oneof] TYPE name", to a message's description."""
    *label, kind, name = field.split()
    made = message.field.add(name=name, number=number, label=Field.LABEL_OPTIONAL)
    if label == ["map"]:
        entry = message.nested_type.add(name="".join(map(str.title, name.split("_"))) + "Entry")
        entry.options.map_entry = True
        add_field(entry, full_name, "string key", 1)
        add_field(entry, full_name, f"{kind} value", 2)
        set_type(made, f"{full_name}.{entry.name}", scalar=False)
    else:
        scalar = hasattr(Field, f"TYPE_{kind.upper()}")
        set_type(made, kind if scalar else f".{PACKAGE}.{kind}", scalar=scalar)
    if label in (["repeated"], ["map"]):
        made.label = Field.LABEL_REPEATED
    if label == ["oneof"]:
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        made.oneof_index = 0


def set_type(field: Any, kind: str, *, scalar: bool) -> None:
    """Set a field's type: one of protocol buffers' own, or a message."""
    if scalar:
        field.type = getattr(Field, f"TYPE_{kind.upper()}")
    else:
        field.type, field.type_name = Field.TYPE_MESSAGE, kind
