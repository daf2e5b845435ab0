"""What a doctor waits for: the first picture of a radiograph, a page of a letter, a slice of a series."""

import statistics
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from appliance.packed import pack_path
from appliance.settings import Settings
from tests.bench.report import record
from tests.bench.test_web import Browser
from tests.support import dicoms, share_site
from tests.support.armoire import Armoire, end
from tests.support.preview import PreviewProcess
from tests.support.sshd import free_port

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

SIDE = 2048
TIMES = 12


@pytest.fixture(scope="module")
def share(tmp_path_factory):
    """A box served by its real web process, with radiographs nobody has looked at yet."""
    data = tmp_path_factory.mktemp("previews") / "data"
    port = free_port()
    settings = Settings(data=data)
    made = share_site.make(settings)
    dice = np.random.default_rng(7)
    down, right = np.indices((SIDE, SIDE), np.float32)
    still = 2000 + 1500 * np.sin(right / 200) * np.cos(down / 300)
    for number in range(TIMES):
        grain = dice.normal(0, 30, (SIDE, SIDE))
        body = np.clip(still + grain, 0, 4095).astype(np.uint16)
        data_set = dicoms.make(body, number=number, WindowCenter=2048, WindowWidth=4096)
        dicoms.write(made.share.folder / f"cr {number}.dcm", data_set)
        Image.effect_noise((4000, 3000), 40).convert("RGB").save(
            made.share.folder / f"{number}.jpg"
        )
    web = Armoire(data, ARMOIRE_LISTEN_PORT=str(port)).start("serve")
    deadline = time.monotonic() + 60
    while True:
        try:
            browser = Browser(port, made.token)
            browser.get("/api/v1/disk")
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    with PreviewProcess(settings) as maker:
        yield browser, made.share.folder, maker
    browser.line.close()
    end(web)
    made.database.close()


def picture(name: str) -> str:
    return f"/preview/documents/picture?p={pack_path(name.encode())}&side=1024"


def test_the_first_picture_of_a_radiograph(share):
    """CR of 2048², 16 bits, never looked at: to its last byte, through the web."""
    browser, _, maker = share
    before = time.perf_counter()
    browser.get(picture("cr 0.dcm"))
    cold = (time.perf_counter() - before) * 1000
    taken = []
    for number in range(1, TIMES):
        before = time.perf_counter()
        _, body = browser.get(picture(f"cr {number}.dcm"))
        taken.append((time.perf_counter() - before) * 1000)
        assert body[8:12] == b"WEBP"
    again = [browser.get(picture(f"cr {number}.dcm"))[0] for number in range(1, TIMES)]
    value = statistics.median(taken)
    record(
        f"DICOM CR {SIDE}², first picture through the web, p50 (ms)",
        value,
        200,
        value <= 200,
        {
            "max": round(max(taken)),
            "decoders not loaded": round(cold),
            "seen before": round(statistics.median(again)),
            "processor": statistics.median(each["cpu_ms"] for each in maker.ended()[1:TIMES]),
        },
    )
    assert value <= 200


def test_a_photograph_and_what_the_maker_weighs(share):
    """Twelve million pixels; memory of the process that waits for the next one."""
    browser, _, maker = share
    taken = []
    for number in range(TIMES):
        before = time.perf_counter()
        browser.get(picture(f"{number}.jpg"))
        taken.append((time.perf_counter() - before) * 1000)
    value = statistics.median(taken)
    name = "JPEG of 12 megapixels, first picture through the web, p50 (ms)"
    record(name, value, 400, value <= 400, {"max": round(max(taken))})
    resident = psutil.Process(maker.process.pid).memory_info().rss / 1e6
    record("previews' process with its decoders (MB)", resident, 120, resident <= 120, {})
    assert resident <= 120


def test_a_preview_process_at_rest_is_small(tmp_path: Path):
    """Nothing is loaded before somebody looks at a file."""
    with PreviewProcess(Settings(data=tmp_path / "data")) as maker:
        resident = psutil.Process(maker.process.pid).memory_info().rss / 1e6
    record("previews' process at rest (MB)", resident, 25, resident <= 25, {})
    assert resident <= 25
