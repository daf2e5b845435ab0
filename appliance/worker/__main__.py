"""``python -m appliance.worker --data DIR``: the worker, as ``armoire worker`` starts it."""

import argparse
import sys
from pathlib import Path

from appliance.settings import load
from appliance.worker.service import serve

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="armoire-worker")
    parser.add_argument("--data", type=Path, required=True)
    sys.exit(serve(load(parser.parse_args().data)))
