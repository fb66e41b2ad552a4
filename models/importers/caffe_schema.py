"""The part of Caffe's own format that its networks are made of, as protobuf messages made at run time."""

from __future__ import annotations

from functools import cache
from typing import Any

from posestream.models.importers.extra import load_protobuf

__all__ = ["message_class"]

_PACKAGE = "caffe"
#: Fields as NAME=NUMBER:TYPE, a star behind what is repeated; the numbers are those of caffe.proto. Fields that say
#: how a network is trained are left out: readers pass over what they do not know.
#: `data` is an array of floats on the wire, whose bytes are those of a `bytes` field: taken so, 200 MB need no loop.
_MESSAGES = {
    "BlobShape": "dim=1:int64*",
    "BlobProto": "num=1:int32 channels=2:int32 height=3:int32 width=4:int32 data=5:bytes* shape=7:BlobShape "
    "double_data=8:bytes*",
    "NetStateRule": "phase=1:Phase",
    "NetParameter": "name=1:string layers=2:V1LayerParameter* input=3:string* input_dim=4:int32* "
    "input_shape=8:BlobShape* layer=100:LayerParameter*",
    "LayerParameter": "name=1:string type=2:string bottom=3:string* top=4:string* blobs=7:BlobProto* "
    "include=8:NetStateRule* exclude=9:NetStateRule* concat_param=104:ConcatParameter "
    "convolution_param=106:ConvolutionParameter eltwise_param=110:EltwiseParameter "
    "pooling_param=121:PoolingParameter relu_param=123:ReLUParameter prelu_param=131:PReLUParameter "
    "input_param=143:InputParameter",
    "V0LayerParameter": "name=1:string type=2:string",
    "V1LayerParameter": "layer=1:V0LayerParameter bottom=2:string* top=3:string* name=4:string type=5:LayerType "
    "blobs=6:BlobProto* concat_param=9:ConcatParameter convolution_param=10:ConvolutionParameter "
    "pooling_param=19:PoolingParameter eltwise_param=24:EltwiseParameter relu_param=30:ReLUParameter "
    "include=32:NetStateRule* exclude=33:NetStateRule*",
    "ConvolutionParameter": "num_output=1:uint32 bias_term=2:bool pad=3:uint32* kernel_size=4:uint32* group=5:uint32 "
    "stride=6:uint32* pad_h=9:uint32 pad_w=10:uint32 kernel_h=11:uint32 kernel_w=12:uint32 stride_h=13:uint32 "
    "stride_w=14:uint32 dilation=18:uint32*",
    "PoolingParameter": "pool=1:PoolMethod kernel_size=2:uint32 stride=3:uint32 pad=4:uint32 kernel_h=5:uint32 "
    "kernel_w=6:uint32 stride_h=7:uint32 stride_w=8:uint32 pad_h=9:uint32 pad_w=10:uint32 global_pooling=12:bool "
    "round_mode=13:RoundMode",
    "ConcatParameter": "concat_dim=1:uint32 axis=2:int32",
    "EltwiseParameter": "operation=1:EltwiseOp coeff=2:float*",
    "ReLUParameter": "negative_slope=1:float",
    "PReLUParameter": "channel_shared=2:bool",
    "InputParameter": "shape=1:BlobShape*",
}
#: Each enumeration's values in order, from 0.
_ENUMS = {
    "Phase": "TRAIN TEST",
    "PoolMethod": "MAX AVE STOCHASTIC",
    "RoundMode": "CEIL FLOOR",
    "EltwiseOp": "PROD SUM MAX",
    "LayerType": "NONE ACCURACY BNLL CONCAT CONVOLUTION DATA DROPOUT EUCLIDEAN_LOSS FLATTEN HDF5_DATA HDF5_OUTPUT "
    "IM2COL IMAGE_DATA INFOGAIN_LOSS INNER_PRODUCT LRN MULTINOMIAL_LOGISTIC_LOSS POOLING RELU SIGMOID SOFTMAX "
    "SOFTMAX_LOSS SPLIT TANH WINDOW_DATA ELTWISE POWER SIGMOID_CROSS_ENTROPY_LOSS HINGE_LOSS MEMORY_DATA ARGMAX "
    "THRESHOLD DUMMY_DATA SLICE MVN ABSVAL SILENCE CONTRASTIVE_LOSS EXP DECONVOLUTION",
}
#: What a field is where the file does not say.
_DEFAULTS = {
    "ConvolutionParameter.bias_term": "true",
    "ConvolutionParameter.group": "1",
    "ConcatParameter.axis": "1",
    "EltwiseParameter.operation": "SUM",
    "PoolingParameter.stride": "1",
}


def message_class(name: str) -> Any:
    """Give the class of one of Caffe's messages, such as "NetParameter".

    Raises:
        ModelError: protobuf is not installed; the text names the extra.
    """
    return load_protobuf("message_factory").GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))


@cache
def _pool() -> Any:
    """Build the descriptors, in a pool of their own that meets nobody else's."""
    descriptor = load_protobuf("descriptor_pb2")
    file = descriptor.FileDescriptorProto(name="caffe.proto", package=_PACKAGE, syntax="proto2")
    for name, values in _ENUMS.items():
        # Two enumerations of one scope must not share a value's name, so each has a scope of its own.
        scope = file.message_type.add(name=f"{name}Scope")
        enum = scope.enum_type.add(name=name)
        for number, value in enumerate(values.split()):
            enum.value.add(name=value, number=number)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split():
            _add_field(descriptor.FieldDescriptorProto, message, text)
    pool = load_protobuf("descriptor_pool").DescriptorPool()
    pool.Add(file)
    return pool


def _add_field(kinds: Any, message: Any, text: str) -> None:
    """Add a field that is written as NAME=NUMBER:TYPE, with a star where it is repeated."""
    name, _, rest = text.partition("=")
    number, _, kind = rest.rstrip("*").partition(":")
    field = message.field.add(name=name, number=int(number))
    field.label = kinds.LABEL_REPEATED if text.endswith("*") else kinds.LABEL_OPTIONAL
    if kind in _MESSAGES:
        field.type, field.type_name = kinds.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    elif kind in _ENUMS:
        field.type, field.type_name = kinds.TYPE_ENUM, f".{_PACKAGE}.{kind}Scope.{kind}"
    else:
        field.type = getattr(kinds, f"TYPE_{kind.upper()}")
    if field.type == kinds.TYPE_INT64:
        field.options.packed = True  # as Caffe writes shapes; readers take either form
    if default := _DEFAULTS.get(f"{message.name}.{name}"):
        field.default_value = default
