"""Profiles of exactly the shapes that the tools write, with figures of our own.

trtexec: `Profiler::exportJSONProfile`, github.com/NVIDIA/TensorRT, samples/common/sampleReporting.cpp
(`medianMs` since 8.4). TensorFlow Lite: github.com/tensorflow/tensorflow,
tensorflow/core/util/stats_calculator.cc (`start` until 2022) and
tensorflow/lite/tools/benchmark/profiling_listener.cc. OpenVINO: statistics_report.py and .cpp of
`benchmark_app`. MCT: schema v1 and v2 of model_compression_toolkit, as `model_dump_json` writes it.
"""

import json

TRTEXEC = """[
  { "count" : 200 }
, { "name" : "Reformatting CopyNode for Input Tensor 0 to conv1.weight + /conv1/Conv + /relu/Relu", "timeMs" : 1.2, "averageMs" : 0.006, "medianMs" : 0.0058, "percentage" : 2.4 }
, { "name" : "conv1.weight + /conv1/Conv + /relu/Relu", "timeMs" : 10.4, "averageMs" : 0.052, "medianMs" : 0.0515, "percentage" : 20.8 }
, { "name" : "/maxpool/MaxPool", "timeMs" : 2.2, "averageMs" : 0.011, "medianMs" : 0.0111, "percentage" : 4.4 }
, { "name" : "/layer1/layer1.0/conv1/Conv + PWN(PWN(/layer1/layer1.0/relu/Sigmoid), /layer1/layer1.0/relu/Mul)", "timeMs" : 8.1e0, "averageMs" : 4.05e-02, "medianMs" : 0.04, "percentage" : 16.2 }
, { "name" : "/layer2/layer2.0/conv1/Conv || /layer2/layer2.0/downsample/downsample.0/Conv", "timeMs" : 12, "averageMs" : 0.06, "medianMs" : 0.0601, "percentage" : 24 }
, { "name" : "/fc/Gemm input reformatter 0", "timeMs" : 0.4, "averageMs" : 0.002, "medianMs" : 0.002, "percentage" : 0.8 }
, { "name" : "__myl_MulSum_myl68_8", "timeMs" : 0.2, "averageMs" : 0.001, "medianMs" : 0.001, "percentage" : 0.4 }
, { "name" : "/fc/Gemm + (Unnamed Layer* 236) [Shuffle]", "timeMs" : 5, "averageMs" : 0.025, "medianMs" : 0.0249, "percentage" : 10 }
]
"""
OLD_TRTEXEC = json.dumps(
    [{k: v for k, v in row.items() if k != "medianMs"} for row in json.loads(TRTEXEC)]
)

TFLITE = """\
Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
ModifyGraphWithDelegate, 1.5, 1.5, 60%, 60%, 0, 1, ModifyGraphWithDelegate/0
AllocateTensors, 1, 1, 40%, 100%, 0, 1, AllocateTensors/0

============================== Top by Computation Time ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
ModifyGraphWithDelegate, 1.5, 1.5, 60%, 60%, 0, 1, ModifyGraphWithDelegate/0

Number of nodes executed: 2
============================== Summary by node type ==============================
node type, count, avg_ms, avg %, cdf %, mem KB, times called
ModifyGraphWithDelegate, 1, 1.5, 60%, 60%, 0, 1

Timings (microseconds): count=1 curr=2500
Memory (bytes): count=0
2 nodes observed


Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
QUANTIZE, 0.02, 0.018, 2%, 2%, 0, 1, [tfl.quantize]:0
CONV_2D, 0.31, 0.3025, 50%, 52%, 0, 1, [model/conv1/Relu;model/bn1/FusedBatchNormV3;model/conv1/Conv2D]:1
MAX_POOL_2D, 0.04, 0.0391, 6%, 58%, 0, 1, [model/maxpool/MaxPool]:2
CONV_2D, 0.2, 0.2017, 20%, 78%, 0, 1, [model/layer1.0.conv1/Conv2D, model/side, model/other]:3
FULLY_CONNECTED, 0.1, 1.2e-02, 20%, 98%, 0, 2, [model/fc/MatMul;model/fc/BiasAdd]:4
DEQUANTIZE, 0.01, 0.0004, 2%, 100%, 0, 0, [StatefulPartitionedCall:0]:5

============================== Top by Computation Time ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, 0.31, 0.3025, 50%, 50%, 0, 1, [model/conv1/Relu;model/bn1/FusedBatchNormV3;model/conv1/Conv2D]:1

Number of nodes executed: 6
============================== Summary by node type ==============================
node type, count, avg_ms, avg %, cdf %, mem KB, times called
CONV_2D, 2, 0.504, 70%, 70%, 0, 2

Timings (microseconds): count=50 first=700 curr=590 min=580 max=700 avg=600.2 std=11
Memory (bytes): count=0
6 nodes observed
"""
OLD_TFLITE = """\
============================== Run Order ==============================
node type, start, first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, 0, 0.31, 0.3025, 61%, 61%, 0, 1, [model/conv1/Relu]
CONV_2D, 0.303, 0.2, 0.2017, 39%, 100%, 0, 1, [model/layer1.0.conv1/Conv2D]

============================== Top by Computation Time ==============================
node type, start, first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, 0, 0.31, 0.3025, 61%, 61%, 0, 1, [model/conv1/Relu]
"""

OPENVINO = """\
layerName;execStatus;layerType;execType;realTime (ms);cpuTime (ms);
input;NOT_RUN;Parameter;unknown_f32;0.000;0.000;
input_f32_abcd_u8_acdb_/conv1/Conv;EXECUTED;Reorder;jit_uni_f32;0.011;0.011;
/conv1/Conv;EXECUTED;Convolution;jit_avx512_core_amx_i8;0.120;0.119;
/relu/Relu;OPTIMIZED_OUT;Relu;undef;0.000;0.000;
/maxpool/MaxPool;EXECUTED;MaxPool;jit_avx512_i8;0.020;0.020;
__module.layer1.0.conv1/aten::_convolution/Convolution;EXECUTED;Convolution;brgconv_avx512_amx_i8;0.090;0.090;
odd;name;EXECUTED;Softmax;ref_any_f32;0.001;0.001;
fc_node;EXECUTED;FullyConnected;brgemm_avx512_amx_i8;0.034;0.034;
Total;;;;0.276;0.275;

"""


def node(name, us, ts, op="Conv", **shapes):
    """An event of ONNX Runtime's profile as version 1.23 writes it."""
    arguments = {
        "op_name": op,
        "provider": "CPUExecutionProvider",
        "node_index": "7",
        "thread_scheduling_stats": "",
        "activation_size": "49152",
        "parameter_size": "37632",
        "output_size": "262144",
        "input_type_shape": [
            {"float": s} for s in shapes.get("inputs", [[1, 3, 8, 8], [4, 3, 3, 3]])
        ],
        "output_type_shape": [{"float": s} for s in shapes.get("outputs", [[1, 4, 8, 8]])],
    }
    return {
        "cat": "Node", "pid": 1, "tid": 2, "dur": us, "ts": ts, "ph": "X",
        "name": f"{name}_kernel_time", "args": arguments,
    }  # fmt: skip


def run(ts, dur):
    """The event that says where a run is."""
    return {
        "cat": "Session",
        "pid": 1,
        "tid": 2,
        "dur": dur,
        "ts": ts,
        "ph": "X",
        "name": "model_run",
        "args": {},
    }


ONNXRUNTIME = json.dumps(
    [
        {"cat": "Session", "pid": 1, "tid": 2, "dur": 9, "ts": 1, "ph": "X", "name": "session_initialization", "args": {}},
        *(
            event
            for k, (slow, fast) in enumerate([(900, 90), (40, 5), (44, 7), (42, 6)])
            for event in (
                node("conv1", slow, 1000 * k + 110),
                {**node("conv1", 1, 1000 * k + 109), "name": "conv1_fence_before"},
                node("fc", fast, 1000 * k + 400, "Gemm", inputs=[[1, 8]], outputs=[[1, 10]]),
                run(1000 * k + 100, 800),
            )
        ),
    ]
)  # fmt: skip


def mct(version=2, **sets):
    """A target platform file; each set is a list of (kernel bits, quantized?, input bits)."""

    def configuration(bits, quantized, inputs):
        attribute = {
            "weights_quantization_method": 0, "weights_n_bits": 8, "weights_per_channel_threshold": False,
            "enable_weights_quantization": False, "lut_values_bitwidth": None,
        }  # fmt: skip
        kernel = {
            **attribute, "weights_n_bits": bits, "weights_per_channel_threshold": True,
            "enable_weights_quantization": quantized,
        }  # fmt: skip
        bias = {**attribute, "weights_n_bits": 32}
        return {
            "default_weight_attr_config": attribute,
            "attr_weights_configs_mapping": {} if bits is None else {"kernel_attr": kernel, "bias_attr": bias},
            "activation_quantization_method": 0, "activation_n_bits": 8,
            "supported_input_activation_n_bits": inputs, "enable_activation_quantization": True,
            "quantization_preserving": False, "fixed_scale": None, "fixed_zero_point": None,
            "simd_size": 32, "signedness": 0,
        }  # fmt: skip

    def options(configurations):
        made = [configuration(*c) for c in configurations]
        return {"quantization_configurations": made, "base_config": made[0]}

    operators = [
        {"name": name, "qc_options": options(c) if c else None, "type": "OperatorsSet"}
        for name, c in sets.items()
    ]
    return {
        "default_qco": options([(None, False, [8])]),
        "operator_set": operators,
        "fusing_patterns": [
            {
                "operator_groups": operators[:2], "fuse_op_quantization_config": None,
                "name": "_".join(o["name"] for o in operators[:2]),
            }
        ],
        "tpc_minor_version": 1, "tpc_patch_version": 0, "tpc_platform_type": "imx500",
        "add_metadata": False, "name": "imx500_tp_model", "is_simd_padding": True,
        **({"insert_preserving_quantizers": False} if version == 2 else {}),
        "SCHEMA_VERSION": version,
    }  # fmt: skip


IMX = mct(
    ReLU=None,
    Conv=[(8, True, [8]), (4, True, [8]), (2, True, [8])],
    DepthwiseConv2D=[(8, True, [8, 16])],
    FullyConnected=[(8, True, [8]), (4, False, 8)],
    MaxPool=[(None, False, [8])],
)
MCT = json.dumps(IMX, indent=4)

SAMPLES = {
    "trtexec": TRTEXEC,
    "old trtexec": OLD_TRTEXEC,
    "tflite": TFLITE,
    "old tflite": OLD_TFLITE,
    "openvino": OPENVINO,
    "onnxruntime": ONNXRUNTIME,
}
