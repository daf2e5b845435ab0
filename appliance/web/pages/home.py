"""The home page: one sentence of truth, what needs doing, the last nights."""

from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from appliance.web.deps import TheBox, TheVisitor
from appliance.web.render import Page, render

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class HomePage(Page):
    """Everything home.html may use."""

    template: ClassVar[str] = "home.html"


@router.get("/", name="home")
async def show_home(request: Request, box: TheBox, visitor: TheVisitor) -> Response:  # noqa: ARG001
    """Show whether the practice's data are safe."""
    return render(request, HomePage())
