# Verifies access tokens with PyJWT. Reads and prints what jose.mjs does; a verdict that is no payload is the name of the
# error. PyJWT has no clock that can be set, so the times are compared here.
import base64
import json
import sys

import jwt


def verdict(case):
    known = jwt.algorithms.get_default_algorithms()
    if case["alg"] not in known:
        return "unknown"
    if "jwks" in case:
        kid = jwt.get_unverified_header(case["token"])["kid"]
        (key,) = [key for key in case["jwks"]["keys"] if key["kid"] == kid]
        key = jwt.PyJWK(key).key
    else:
        key = base64.urlsafe_b64decode(case["secret"] + "==")
    try:
        payload = jwt.decode(
            case["token"],
            key,
            algorithms=[case["alg"]],
            audience=case["audience"],
            issuer=case["issuer"],
            options={
                "require": ["iss", "exp", "aud", "sub", "iat", "jti"],
                "verify_exp": False,
                "verify_iat": False,
            },
        )
    except jwt.PyJWTError as error:
        return type(error).__name__
    return payload if case["now"] < payload["exp"] else "ExpiredSignatureError"


for line in sys.stdin:
    print(json.dumps(verdict(json.loads(line))), flush=True)
