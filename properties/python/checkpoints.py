"""What PyTorch makes of checkpoint files, in one line a file, as CheckpointKit.fs describes trees.

checkpoints.py read FILE...     torch.load each; "weights_only" before a file: with weights_only=True
checkpoints.py write FOLDER     torch.save some, and print name and description of each
"""
import collections
import json
import os
import struct
import sys
import warnings

warnings.simplefilter("ignore")
import torch  # noqa: E402


def describe(value):
    storages = []

    def storage_of(tensor):
        pointer = (tensor.storage()._cdata if tensor.numel() == 0 else tensor.storage().data_ptr())
        if pointer not in storages:
            storages.append(pointer)
        return storages.index(pointer)

    def text(value):
        return json.dumps(value)

    def go(value):
        if value is None or isinstance(value, (bool, int)):
            return str(value)
        if isinstance(value, float):
            return "f" + struct.pack(">d", value).hex()
        if isinstance(value, str):
            return text(value)
        if isinstance(value, torch.Tensor):
            flat = value.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
            data = b""
            if flat.numel() > 0:
                data = bytes(flat.view(torch.uint8).tolist()) if flat.dtype != torch.uint8 else bytes(flat.tolist())
            name = str(value.dtype).replace("torch.", "")
            shape = ",".join(map(str, value.shape))
            strides = ",".join(map(str, value.stride()))
            return f"{name}[{shape}]({strides})@{storage_of(value)}:{data.hex()}"
        if isinstance(value, list):
            return "[" + ", ".join(map(go, value)) + "]"
        if isinstance(value, tuple):
            return "(" + ", ".join(map(go, value)) + ")"
        if isinstance(value, dict):
            kind = type(value).__name__
            key = lambda key: text(key) if isinstance(key, str) else str(key)  # noqa: E731
            return kind + "{" + ", ".join(key(k) + ": " + go(v) for k, v in value.items()) + "}"
        raise TypeError(type(value))

    return go(value)


def samples():
    """What training leaves behind: models, optimizers of every kind, schedulers, and plain values."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
    rules = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
        "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
        "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
        "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.5),
    }
    for name, rule in rules.items():
        optimizer = rule(model.parameters())
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 2, 3])
        for step in range(3):
            def closure():
                optimizer.zero_grad()
                loss = (model(torch.arange(20.0).reshape(5, 4)) ** 2).mean()
                loss.backward()
                return loss

            optimizer.step(closure)
            scheduler.step()
        yield name, {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "epoch": 3,
            "best": None,
            "rng": torch.get_rng_state(),
        }
    whole = torch.arange(24.0).reshape(4, 6)
    yield "views", {
        "whole": whole,
        "transposed": whole.t(),
        "column": whole[:, 2],
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(0.5, dtype=torch.float64),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "size": torch.Size([2, 3]),
        "counter": collections.Counter([3, 3, 5]),
        "large": 2 ** 40,
    }
    yield "dtypes", {
        str(dtype): torch.arange(8).to(dtype)
        for dtype in [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
                      torch.float32, torch.float64, torch.bool, torch.complex64, torch.complex128]
    }


def main(arguments):
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    if arguments[0] == "write":
        for name, value in samples():
            for protocol in [2, 4]:
                path = os.path.join(arguments[1], f"{name}-{protocol}.pt")
                torch.save(value, path, pickle_protocol=protocol)
                print(path)
                print(describe(value))
        return
    weights_only = False
    for path in arguments[1:]:
        if path == "weights_only":
            weights_only = True
            continue
        print(describe(torch.load(path, weights_only=weights_only)))
        weights_only = False


main(sys.argv[1:])
