"""Which fields of a DICOM file are shown to somebody who asks for them, and how they are called on screen.

A list of what may be shown, not of what may not: private fields and everything unknown stay in the file.
Source: DICOM PS3.6 2024, data dictionary (keywords).
"""

from typing import Final

from appliance.language import mark

#: Keyword → what a person reads; in the order they are shown.
FIELDS: Final[dict[str, str]] = {
    "PatientName": mark("Patient"),
    "PatientID": mark("Patient’s number"),
    "PatientBirthDate": mark("Born"),
    "PatientSex": mark("Sex"),
    "PatientAge": mark("Age"),
    "StudyDate": mark("Date of the examination"),
    "StudyTime": mark("Time of the examination"),
    "StudyDescription": mark("Examination"),
    "AccessionNumber": mark("Number of the examination"),
    "ReferringPhysicianName": mark("Referring doctor"),
    "InstitutionName": mark("Institution"),
    "SeriesDescription": mark("Series"),
    "SeriesNumber": mark("Number of the series"),
    "InstanceNumber": mark("Number of the picture"),
    "BodyPartExamined": mark("Part of the body"),
    "Laterality": mark("Side"),
    "ViewPosition": mark("View"),
    "ProtocolName": mark("Protocol"),
    "Manufacturer": mark("Maker of the device"),
    "ManufacturerModelName": mark("Device"),
    "SliceThickness": mark("Slice thickness (mm)"),
    "PixelSpacing": mark("Size of a pixel (mm)"),
    "KVP": mark("Tube voltage (kV)"),
}
LONGEST_VALUE: Final = 400  # characters

#: Windows radiologists use for a CT: name on screen, centre and width in Hounsfield units.
CT_WINDOWS: Final[tuple[tuple[str, float, float], ...]] = (
    (mark("Soft tissue"), 40.0, 400.0),
    (mark("Lung"), -600.0, 1500.0),
    (mark("Bone"), 400.0, 1800.0),
    (mark("Brain"), 40.0, 80.0),
)
#: What the file itself proposes, and what shows all there is.
OF_FILE: Final = mark("As recorded")
WHOLE: Final = mark("Whole range")
