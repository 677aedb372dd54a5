"""Pictures for the texts of a shop that has none of its own: a room by the season, and who may live in it.

`/web/picture/winter.svg` and the like, so that `image-url = "/web/picture/{season}.svg"` works without a file. Drawn
from a few shapes, like the still lifes of `serving.web.art`; nothing of a request gets into them.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from features.errors import NotFoundError
from serving.web.render import HEADERS

ROUTE: Final = "/web/picture/{name}.svg"

# Sky, hill, wall, floor, sofa, cushion of each season.
_TONES: Final = {
    "winter": ("#c9d9e6", "#f4f7f9", "#e4e1db", "#c8b9a3", "#54708a", "#b55d4c"),
    "spring": ("#cfe4ee", "#a9c48f", "#ece6d8", "#d3bf9f", "#6f8f78", "#e0a9a4"),
    "summer": ("#a9d4ea", "#7fae72", "#f1ead9", "#dcc69c", "#3f7f88", "#e3b549"),
    "autumn": ("#e3d3b8", "#c08a4a", "#e9ded0", "#bd9c78", "#87553d", "#d19a3d"),
    "home": ("#d5e2e6", "#b5c3a4", "#ebe4d8", "#cfba9b", "#5e7488", "#cd8d63"),
}
_FLAKES: Final = ((160, 120), (215, 160), (270, 110), (330, 150), (385, 125), (185, 215), (300, 205), (360, 230))
_OUTSIDE: Final = {
    "winter": "".join(f'<circle cx="{x}" cy="{y}" r="6" fill="#fff"/>' for x, y in _FLAKES)
    + '<path d="M300 300l40-95 40 95zM312 250l28-70 28 70z" fill="#5d7a6b"/>',
    "spring": '<path d="M335 300v-80h12v80z" fill="#7a5d47"/><g fill="#eab8bd"><circle cx="315" cy="205" r="34"/>'
    '<circle cx="365" cy="205" r="34"/><circle cx="340" cy="172" r="38"/></g>',
    "summer": '<circle cx="200" cy="145" r="36" fill="#f4cf63"/><path d="M335 300v-90h12v90z" fill="#7a5d47"/>'
    '<circle cx="341" cy="190" r="62" fill="#4f8a55"/>',
    "autumn": '<path d="M335 300v-90h12v90z" fill="#6d4b36"/><circle cx="341" cy="190" r="58" fill="#c8682f"/>'
    '<g fill="#d9923c"><circle cx="230" cy="270" r="8"/><circle cx="275" cy="240" r="7"/>'
    '<circle cx="190" cy="225" r="6"/>'
    "</g>",
    "home": '<path d="M335 300v-90h12v90z" fill="#7a5d47"/><circle cx="341" cy="190" r="56" fill="#7f9f76"/>',
}
_DOG: Final = (
    '<ellipse cx="480" cy="566" rx="150" ry="20" fill="#1d1206" fill-opacity=".14"/>'
    '<g fill="#b3824f">'
    '<path d="M560 520c58-6 72-52 58-84 32 30 26 96-40 112z"/><path d="M400 560c-14-130 6-200 80-200s100 70 86 200z"/>'
    '<ellipse cx="478" cy="316" rx="86" ry="76"/></g><g fill="#7d5433">'
    '<path d="M402 268c-40-6-54 60-34 112 24 6 44-30 50-78zM554 268c40-6 54 60 34 112-24 6-44-30-50-78z"/></g>'
    '<path d="M428 560v-92h24v92zM510 560v-92h24v92z" fill="#93673c"/>'
    '<ellipse cx="478" cy="346" rx="42" ry="32" fill="#ecd9bd"/>'
    '<ellipse cx="478" cy="330" rx="15" ry="10" fill="#33241a"/><g fill="#33241a"><circle cx="446" cy="300" r="8"/>'
    '<circle cx="510" cy="300" r="8"/></g><path d="M416 394h126v18H416z" fill="#b55d4c"/>'
    '<circle cx="479" cy="420" r="11" fill="#dcb34d"/>'
)
_CAT: Final = (
    '<ellipse cx="480" cy="566" rx="130" ry="18" fill="#1d1206" fill-opacity=".14"/><g fill="#8a8784">'
    '<path d="M548 548c70 14 100-40 70-92 46 60 22 124-70 110z"/>'
    '<path d="M408 560c-14-120 10-190 72-190s86 70 72 190z"/>'
    '<ellipse cx="480" cy="330" rx="80" ry="68"/><path d="M406 310l-4-82 62 42zM554 310l4-82-62 42z"/></g>'
    '<path d="M414 286l-2-38 30 20zM546 286l2-38-30 20z" fill="#d9a7a0"/>'
    '<path d="M436 560v-84h22v84zM502 560v-84h22v84z" fill="#75726f"/>'
    '<g fill="#e7c45c"><ellipse cx="450" cy="322" rx="13" ry="11"/>'
    '<ellipse cx="510" cy="322" rx="13" ry="11"/></g><g fill="#2b2724"><ellipse cx="450" cy="322" rx="4" ry="10"/>'
    '<ellipse cx="510" cy="322" rx="4" ry="10"/></g><path d="M470 346h20l-10 11z" fill="#d98f86"/>'
    '<g stroke="#efece7" stroke-width="2.5">'
    '<path d="M440 352l-48-8M440 360l-48 6M520 352l48-8M520 360l48 6"/></g>'
)


def _room(season: str, somebody: str = "") -> str:
    sky, hill, wall, floor, sofa, cushion = _TONES[season]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 620">'
        f'<rect width="1200" height="620" fill="{wall}"/><rect y="470" width="1200" height="150" fill="{floor}"/>'
        f'<rect x="120" y="70" width="330" height="250" rx="6" fill="{sky}"/>'
        f'<path d="M120 300q90-60 180-20t150-10v50H120z" fill="{hill}"/>{_OUTSIDE[season]}'
        '<path d="M108 58h354v274H108zm14 14v246h156V72zm170 0v246h156V72z" fill="#fbf8f2" fill-rule="evenodd"/>'
        '<ellipse cx="620" cy="560" rx="430" ry="40" fill="#fff" fill-opacity=".35"/>'
        f'<g fill="{sofa}"><rect x="640" y="290" width="400" height="190" rx="34"/>'
        '<rect x="600" y="360" width="90" height="160" rx="32"/><rect x="990" y="360" width="90" height="160" rx="32"/>'
        '<rect x="650" y="400" width="380" height="110" rx="24"/></g>'
        '<rect x="650" y="400" width="380" height="110" rx="24" fill="#fff" fill-opacity=".12"/>'
        '<path d="M640 516h18v30h-18zM1022 516h18v30h-18z" fill="#5b4635"/>'
        f'<rect x="700" y="330" width="96" height="88" rx="18" fill="{cushion}" transform="rotate(-8 748 374)"/>'
        '<path d="M1130 190h10v340h-10z" fill="#5b4635"/><path d="M1085 200l25-90h50l25 90z" fill="#f3e3bd"/>'
        '<ellipse cx="1135" cy="534" rx="46" ry="8" fill="#5b4635"/>'
        '<path d="M515 470l12 60h56l12-60z" fill="#b4694f"/>'
        '<g fill="#5f7f66"><path d="M553 474c-60-40-66-110-40-160 26 40 44 90 44 160z"/>'
        f'<path d="M555 474c60-30 76-90 60-146-36 30-60 80-60 146z"/></g>{somebody}</svg>'
    )


PICTURES: Final = {
    **{name: _room(name).encode() for name in _TONES},
    "dog": _room("home", f'<g transform="translate(-190 20) scale(.98)">{_DOG}</g>').encode(),
    "cat": _room("home", f'<g transform="translate(-190 20) scale(.98)">{_CAT}</g>').encode(),
}
"""Name -> the drawing as SVG."""


async def drawn(request: Request) -> Response:
    """`GET /web/picture/<name>.svg`.

    Raises:
        NotFoundError: there is none of that name.
    """
    name = request.path_params["name"]
    if name not in PICTURES:
        raise NotFoundError("no such picture", where="picture", got=name)
    headers = {**HEADERS, "Cache-Control": "public, max-age=86400"}
    return Response(PICTURES[name], media_type="image/svg+xml", headers=headers)
