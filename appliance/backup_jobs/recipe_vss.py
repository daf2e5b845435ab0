r"""Windows shadow copies: made, read through a link, removed; what a cut run left is removed by the next.

The link's name is written down before it is made; the script makes the shadow copy and the link at
once, so the link leads back to its shadow copy when the run was killed before it knew its number.
Nothing is removed that is not ours: a shadow copy is removed by its number or through our link only.

Source: Microsoft, Win32_ShadowCopy (Create, Context «ClientAccessible»); mklink.
"""

import re
from collections.abc import Mapping
from typing import Final

#: One line on stdout: the number of the shadow copy.
MAKE: Final = r"""
$r = ([wmiclass]'root\cimv2:Win32_ShadowCopy').Create($v_volume, 'ClientAccessible')
if ($r.ReturnValue -ne 0) { [Console]::Error.WriteLine("armoire vss $($r.ReturnValue)"); exit 3 }
$s = Get-WmiObject Win32_ShadowCopy | Where-Object { $_.ID -eq $r.ShadowID }
cmd /c mklink /d "$v_link" "$($s.DeviceObject)\" | Out-Null
if ($LASTEXITCODE -ne 0) { $s.Delete(); exit 4 }
Write-Output $r.ShadowID
"""
REMOVE: Final = r"""
$d = ''
if (Test-Path -LiteralPath $v_link) {
  $t = [string](Get-Item -LiteralPath $v_link -Force).Target
  if ($t -match 'HarddiskVolumeShadowCopy\d+') { $d = $Matches[0] }
  cmd /c rmdir "$v_link"
}
Get-WmiObject Win32_ShadowCopy | Where-Object {
  $_.ID -eq $v_shadow -or ($d -and $_.DeviceObject.EndsWith("\$d"))
} | ForEach-Object { $_.Delete() }
if (Test-Path -LiteralPath $v_link) { exit 5 }
if (Get-WmiObject Win32_ShadowCopy | Where-Object { $_.ID -eq $v_shadow }) { exit 6 }
"""
_SHADOW: Final = re.compile(r"\{[0-9A-Fa-f-]{36}\}")
_DRIVE: Final = re.compile(r"/?([A-Za-z]):(?:[\\/]|$)")


def volume_of(root: str) -> str | None:
    r"""Return the volume («C:\») of a Windows path, None when it names none."""
    found = _DRIVE.match(root)
    return f"{found[1].upper()}:\\" if found else None


def link_on(volume: str, source_id: int, job_id: int) -> str:
    r"""Return where the link to a volume's shadow copy will be: «C:\armoire-3-17»."""
    return f"{volume}armoire-{source_id}-{job_id}"


def through(links: Mapping[str, str], root: str) -> str:
    """Return where ``root`` is read when its volume's shadow copy is at ``links[volume]``."""
    volume = volume_of(root)
    if volume is None or volume not in links:
        return root
    rest = _DRIVE.sub("", root, count=1).lstrip("\\/")
    return f"{links[volume]}\\{rest}" if rest else links[volume]


def shadow_in(output: str) -> str | None:
    """Return the number of the shadow copy out of what MAKE wrote."""
    found = _SHADOW.search(output)
    return found[0] if found else None
