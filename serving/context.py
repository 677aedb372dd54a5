"""Where a request comes from, read off what every browser sends: campaign, source and device. Nothing of it is kept."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import msgspec

from serving.query import Context

SEARCH, SOCIAL, MAIL = "search", "social", "email"
_SEARCH = re.compile(r"(^|\.)(google|bing|yahoo|duckduckgo|ecosia|baidu|yandex|naver)\.")
_SOCIAL = re.compile(
    r"(^|\.)(facebook|instagram|twitter|x|t|tiktok|youtube|pinterest|linkedin|line|reddit|threads)\.(com|co|me|net)$"
)
_PAID = ("gclid", "fbclid", "msclkid", "yclid", "ttclid")
_TABLET = re.compile(r"ipad|tablet|android(?!.*mobile)", re.IGNORECASE)
_PHONE = re.compile(r"mobi|iphone|ipod|android", re.IGNORECASE)


def completed(context: Context) -> Context:
    """A context with source, campaign and device derived from its address, referrer and user agent.

    What the request names itself stays as it is.
    """
    if context.url is None and context.user_agent is None and (context.referrer is None or context.traffic_source):
        return context
    asked = _query(context.url)
    return msgspec.structs.replace(
        context,
        traffic_source=context.traffic_source or source_of(context.url, context.referrer),
        campaign=context.campaign or asked.get("utm_campaign"),
        device=context.device or (None if context.user_agent is None else device_of(context.user_agent)),
    )


def source_of(url: str | None, referrer: str | None) -> str:
    """`email`, `ads`, `search`, `social`, `referral`, `direct`, or what the address says in `utm_source`.

    >>> source_of("https://shop.test/?gclid=1", None), source_of(None, "https://www.google.com/")
    ('ads', 'search')
    >>> source_of("https://shop.test/?utm_medium=email&utm_source=june", None), source_of(None, None)
    ('email', 'direct')
    """
    asked = _query(url)
    medium = asked.get("utm_medium", "").lower()
    if medium in ("email", "e-mail", "newsletter"):
        return MAIL
    if medium in ("cpc", "ppc", "paid", "display", "ads", "paidsearch") or any(name in asked for name in _PAID):
        return "ads"
    if asked.get("utm_source"):
        return asked["utm_source"]
    host, own = _host(referrer), _host(url)
    if not host or host == own:
        return "direct"
    if _SEARCH.search(host):
        return SEARCH
    return SOCIAL if _SOCIAL.search(host) else "referral"


def device_of(user_agent: str) -> str:
    """`phone`, `tablet` or `desktop`, from a user agent.

    >>> device_of("Mozilla/5.0 (Linux; Android 14) Mobile Safari"), device_of("Mozilla/5.0 (iPad)"), device_of("")
    ('phone', 'tablet', 'desktop')
    """
    if _TABLET.search(user_agent):
        return "tablet"
    return "phone" if _PHONE.search(user_agent) else "desktop"


def _query(url: str | None) -> dict[str, str]:
    if not url:
        return {}
    try:
        return {name: values[0][:64] for name, values in parse_qs(urlsplit(url).query, max_num_fields=50).items()}
    except ValueError:  # "http://[", or more fields than any page has
        return {}


def _host(url: str | None) -> str:
    try:
        return urlsplit(url or "").netloc.lower()
    except ValueError:
        return ""
