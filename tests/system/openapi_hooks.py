"""Loaded by schemathesis itself: every call comes from an address of its own.

Else the bound for wrong keys from one address would answer for the routes.
"""

import ipaddress
from itertools import count
from typing import Any

import schemathesis

_ADDRESSES = map(ipaddress.IPv4Address, count(int(ipaddress.IPv4Address("10.0.0.1"))))


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: Any, _kwargs: Any) -> None:
    case.headers["X-Forwarded-For"] = str(next(_ADDRESSES))
