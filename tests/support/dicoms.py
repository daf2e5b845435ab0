"""DICOM files of our own making: nobody's body, any size."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian


def make(
    values: np.ndarray,
    *,
    syntax: UID = ExplicitVRLittleEndian,
    series: str = "1.2.840.9.1",
    number: int = 1,
    height_mm: float | None = None,
    **more: object,
) -> Dataset:
    """A picture of ``values`` (rows × columns, or frames × rows × columns, unsigned 16 bit)."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    data.SOPClassUID = ComputedRadiographyImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{series}.{number}"
    data.SeriesInstanceUID, data.InstanceNumber = series, number
    data.StudyInstanceUID = "1.2.840.9"
    data.SpecificCharacterSet = "ISO_IR 192"
    data.PatientName, data.PatientID = "Dupont^Émile", "4711"
    data.PatientBirthDate, data.StudyDate, data.Modality = "19510203", "20260317", "CR"
    if height_mm is not None:
        data.ImagePositionPatient = [0, 0, height_mm]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.PhotometricInterpretation, data.SamplesPerPixel = "MONOCHROME2", 1
    data.Rows, data.Columns = values.shape[-2:]
    if values.ndim == 3:
        data.NumberOfFrames = values.shape[0]
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PixelData = values.astype("<u2").tobytes()
    for name, value in more.items():
        setattr(data, name, value)
    return data


def write(path: Path, data: Dataset) -> Path:
    """Write it and return where."""
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def ramp(rows: int, columns: int, low: int = 0, high: int = 4095) -> np.ndarray:
    """Values that rise from left to right."""
    return np.tile(np.linspace(low, high, columns), (rows, 1)).astype(np.uint16)
