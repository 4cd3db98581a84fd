"""MONAI Label's own log-in by OpenID Connect, with what it leaves out: algorithm, issuer, client and missing roles."""

from __future__ import annotations

from typing import Any

import jwt
from monailabel.config import settings


class Tokens:
    """What MONAI Label calls of PyJWT; PyJWT 2 takes no token without being told the algorithm."""

    @staticmethod
    def decode(token: str, key: str, options: dict[str, Any]) -> dict[str, Any]:
        """The claims of a token that the realm signed for this client.

        Raises:
            jwt.InvalidTokenError: it is another's, or has run out.
        """
        needed = {**options, "require": ["exp", "iss"]}
        issuer = settings.MONAI_LABEL_AUTH_REALM_URI
        claims: dict[str, Any] = jwt.decode(token, key, algorithms=["RS256"], options=needed, issuer=issuer)
        audience = claims.get("aud") or []
        clients = {claims.get("azp"), *([audience] if isinstance(audience, str) else audience)}
        if settings.MONAI_LABEL_AUTH_CLIENT_ID not in clients:
            raise jwt.InvalidAudienceError("of another client")
        return _with_roles(claims)


def _with_roles(claims: dict[str, Any]) -> dict[str, Any]:
    """The claims, with no roles where they say none; MONAI Label looks for them step by step."""
    *steps, last = settings.MONAI_LABEL_AUTH_TOKEN_ROLES.split("#")
    place = claims
    for step in steps:
        if not isinstance(place.get(step), dict):
            place[step] = {}
        place = place[step]
    if not isinstance(place.get(last), list):
        place[last] = []
    return claims
