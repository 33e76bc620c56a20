"""Signs the tokens of tokens.json anew, with a JOSE library that is not ours.

Needed only when a token is added or changed; the result is committed:

    pip install jwcrypto==1.6.1
    python3 tests/cases/jwt-auth/make_tokens.py

An entry has the JOSE header, the claims (or "payload", as text), the key to sign
with, and under "then" what is done to the token afterwards. A token that exists
is kept: some signatures differ each time.
"""

import base64
import json
import pathlib

from jwcrypto import jwk, jws

HERE = pathlib.Path(__file__).parent
TOKENS = HERE / "tokens.json"
KEYS = HERE.parent.parent / "harness/keys/issuer.private.jwks.json"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def flip(text):
    """Changes the first character of a base64url text."""
    return ("B" if text[0] == "A" else "A") + text[1:]


def sign(entry, keys):
    header = compact(entry["header"])
    payload = entry["payload"].encode() if "payload" in entry else compact(entry["claims"])
    name = entry["key"]
    if name == "none":
        return f"{b64(header)}.{b64(payload)}."
    if name == "public key as secret":
        pem = jwk.JWK(**keys["rsa-2048"]).export_to_pem()
        key = jwk.JWK(kty="oct", k=b64(pem))
    else:
        key = jwk.JWK(**keys[name])
    # RFC 7515 section 5.1 by hand, because the library will not write a header
    # that it would not accept.
    algorithm = entry.get("sign_as", entry["header"].get("alg"))
    core = jws.JWSCore(algorithm, key, header.decode(), payload)
    signature = core.sign()["signature"]
    return f"{b64(header)}.{b64(payload)}.{signature}"


def main():
    keys = {key["kid"]: key for key in json.loads(KEYS.read_text())["keys"]}
    tokens = json.loads(TOKENS.read_text())
    for entry in tokens.values():
        if "token" in entry:
            continue
        header, payload, signature = sign(entry, keys).split(".")
        match entry.get("then"):
            case "flip signature":
                signature = flip(signature)
            case "become root":
                payload = b64(compact(entry["claims"] | {"sub": "root"}))
            case "drop signature":
                signature = ""
            case "pad":
                signature += "=="
        entry["token"] = f"{header}.{payload}.{signature}"
    TOKENS.write_text(json.dumps(tokens, indent=2, ensure_ascii=False) + "\n")


main()
