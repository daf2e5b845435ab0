"""Photographs and scans: read in one of the usual formats, made small, written anew as WebP.

Written anew: nothing of the file's own bytes, its place or its camera reaches the browser.
"""

import io
from typing import IO, Final

import pi_heif
from PIL import AvifImagePlugin, GifImagePlugin, Image, ImageOps

from appliance.disk.preview.protocol import WEBP, Answer, Do, Wanted
from appliance.disk.preview.refused import Refusal, in_json

#: The only formats opened; Pillow knows forty more that nobody needs here.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "HEIF", "AVIF")
#: A scanner's A3 at 600 dpi has 70 million.
MOST_PIXELS: Final = 120_000_000
MOST_PAGES: Final = 2000
QUALITY: Final = 82
#: WebP's own scale of effort, 0 to 6: 1 takes half the time of 4 for some percent more bytes.
EFFORT: Final = 1

Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # Pillow refuses at twice this, and warns before
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # pages are made on both cores already
pi_heif.options.DECODE_THREADS = 1
GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_ALWAYS


def make(file: IO[bytes], wanted: Wanted) -> Answer:
    """Answer about a picture.

    Raises:
        Refusal: too many pixels, no such page, or only a picture can be had.
    """
    with Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise Refusal("large")
        if wanted.do is Do.INFO:
            return in_json(
                {
                    "kind": "image",
                    "pages": min(MOST_PAGES, _pages(image)),
                    "width": image.width,
                    "height": image.height,
                }
            )
        if wanted.do is not Do.PICTURE:
            raise Refusal("kind")
        if wanted.page:
            if wanted.page >= min(MOST_PAGES, _pages(image)):
                raise Refusal("page")
            image.seek(wanted.page)
            if (
                image.width * image.height > MOST_PIXELS
            ):  # each page of a TIFF has a size of its own
                raise Refusal("large")
        image.draft(
            "RGB", (wanted.side, wanted.side)
        )  # a JPEG is read at a half, a quarter or an eighth
        image.thumbnail((wanted.side * 2, wanted.side * 2), Image.Resampling.BOX, reducing_gap=None)
        return in_webp(ImageOps.exif_transpose(image), wanted.side)


def _pages(image: Image.Image) -> int:
    # Counting the frames of an animation would decode them all; pages are what a TIFF has.
    return int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1


def in_webp(image: Image.Image, side: int) -> Answer:
    """Return ``image`` as WebP, its longer side at most ``side`` pixels."""
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    if image.mode.startswith("I") or image.mode == "F":
        low, high = image.getextrema()
        step = max(1e-9, float(high) - float(low)) / 255  # type: ignore[arg-type]
        image = image.convert("F").point(lambda each: each * (1 / step) + (-float(low) / step))  # type: ignore[arg-type]
        image = image.convert("L")
    elif image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        seen = image.convert("RGBA")
        image = Image.new("RGB", seen.size, "white")
        image.paste(seen, mask=seen.getchannel("A"))
    elif image.mode not in {"RGB", "L"}:
        image = image.convert("RGB")
    written = io.BytesIO()
    image.save(written, "WEBP", quality=QUALITY, method=EFFORT, exif=b"", icc_profile=b"", xmp=b"")
    return Answer(WEBP, written.getvalue())


def warm() -> None:
    """Read and write one of each format."""
    pi_heif.register_heif_opener()
    Image.preinit()
    Image.init()
    tiny = Image.new("RGB", (16, 16), "red")
    ways: tuple[tuple[str, dict[str, object]], ...] = (
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
        ("TIFF", {"compression": "jpeg"}),
        ("TIFF", {"compression": "packbits"}),
        ("AVIF", {}),
    )
    for name, options in ways:
        written = io.BytesIO()
        tiny.save(written, name, **options)
        written.seek(0)
        make(written, Wanted(Do.PICTURE, side=32))
    for mode in ("1", "P", "CMYK", "LA", "I;16"):
        in_webp(Image.new(mode, (8, 8)), 32)
