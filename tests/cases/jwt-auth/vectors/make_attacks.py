"""Writes attacks.json: tokens by which verifiers have been fooled.

Needed only when one is added or changed; the result is committed:

    pip install cryptography==50.0.2
    python3 tests/cases/jwt-auth/vectors/make_attacks.py

Each names what it is about: RFC 8725 for the most part. The signatures come from
pyca/cryptography, and what is expected from the RFCs. An attack that exists is
kept, because some signatures differ each time.
"""

import base64
import hashlib
import hmac
import json
import pathlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

HERE = pathlib.Path(__file__).parent
ATTACKS = HERE / "attacks.json"
PRIVATE = HERE.parent.parent.parent / "harness/keys/issuer.private.jwks.json"
PAYLOAD = b'{"sub":"mallory"}'
CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}
ORDER_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ORDER_ED25519 = 2**252 + 27742317777372353535851937790883648493
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(text):
    return int.from_bytes(unb64(text), "big")


def private_keys():
    jwks = {key["kid"]: key for key in json.loads(PRIVATE.read_text())["keys"]}
    found = {}
    for kid, key in jwks.items():
        if key["kty"] == "RSA":
            public = rsa.RSAPublicNumbers(number(key["e"]), number(key["n"]))
            parts = (number(key[it]) for it in ("p", "q", "d", "dp", "dq", "qi"))
            found[kid] = rsa.RSAPrivateNumbers(*parts, public).private_key()
        elif key["kty"] == "EC":
            found[kid] = ec.derive_private_key(number(key["d"]), CURVES[key["crv"]])
        elif key["kty"] == "OKP":
            found[kid] = ed25519.Ed25519PrivateKey.from_private_bytes(unb64(key["d"]))
        else:
            found[kid] = unb64(key["k"])
    return jwks, found


JWKS, KEYS = private_keys()
RSA = KEYS["rsa-2048"]
MODULUS = RSA.public_key().public_numbers().n


def raw(der, size):
    r, s = utils.decode_dss_signature(der)
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def hs256(secret):
    return lambda data: hmac.new(secret, data, hashlib.sha256).digest()


def rs(bits):
    return lambda data: RSA.sign(data, padding.PKCS1v15(), HASHES[bits])


def ps(bits, salt):
    pad = padding.PSS(padding.MGF1(HASHES[bits]), salt)
    return lambda data: RSA.sign(data, pad, HASHES[bits])


def es(kid, bits, size):
    return lambda data: raw(KEYS[kid].sign(data, ec.ECDSA(HASHES[bits])), size)


def eddsa(data):
    return KEYS["ed25519"].sign(data)


def always(signature):
    return lambda _: signature


def pair(r, s, size=32):
    return always(r.to_bytes(size, "big") + s.to_bytes(size, "big"))


def token(header, sign, payload=PAYLOAD):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    signed = f"{b64(header)}.{b64(payload)}"
    return f"{signed}.{b64(sign(signed.encode()))}"


def spki(key, encoding=serialization.Encoding.DER):
    return key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


def attacks():
    """Name, source, keys, token, and what is expected."""
    none = always(b"")
    everything = ["rsa-2048", "p-256", "p-384", "ed25519", "oct-512"]

    source = "RFC 8725 section 2.1"
    for alg in ["none", "None", "NONE", "nOnE", "none ", " none", "none\0", "", "NoNe\n"]:
        yield f"alg {alg!r}", source, everything, token({"alg": alg}, none), "algorithm"
        signed = token({"alg": alg, "kid": "rsa-2048"}, rs("256"))
        yield f"alg {alg!r} with a good signature", source, everything, signed, "algorithm"
    for alg in [None, 0, False, [], ["none"], ["RS256"], {"RS256": 1}]:
        yield f"alg {alg!r}", source, everything, token({"alg": alg}, rs("256")), "malformed"
    for alg in ["rs256", "RS256 ", "RS256\0", "Rs256", "RSA256", "SHA256", "RS1", "ES256K", "ES512"]:
        yield f"alg {alg!r}", source, everything, token({"alg": alg}, rs("256")), "algorithm"
    for alg in ["RSA-OAEP", "RSA1_5", "dir", "A128KW", "ECDH-ES", "HMAC", "HS1"]:
        yield f"alg {alg!r}", source, everything, token({"alg": alg}, rs("256")), "algorithm"

    secrets = {
        "PEM": spki(RSA, serialization.Encoding.PEM),
        "PEM without its last line break": spki(RSA, serialization.Encoding.PEM).rstrip(),
        "SubjectPublicKeyInfo": spki(RSA),
        "RSAPublicKey": RSA.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.PKCS1
        ),
        "modulus": unb64(JWKS["rsa-2048"]["n"]),
        "modulus in base64url": JWKS["rsa-2048"]["n"].encode(),
        "empty text": b"",
    }
    for name, secret in secrets.items():
        for kid in ({}, {"kid": "rsa-2048"}):
            signed = token({"alg": "HS256"} | kid, hs256(secret))
            told = "with its kid" if kid else "without kid"
            yield f"the RSA key's {name} as a secret, {told}", source, ["rsa-2048"], signed, "algorithm"
        signed = token({"alg": "HS256"}, hs256(secret))
        yield f"the RSA key's {name} as a secret, beside one", source, everything, signed, "signature"
    point = KEYS["p-256"].public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    for name, secret in {"point": point, "x": point[1:33], "DER": spki(KEYS["p-256"])}.items():
        signed = token({"alg": "HS256"}, hs256(secret))
        yield f"the EC key's {name} as a secret", source, ["p-256"], signed, "algorithm"
    signed = token({"alg": "HS256"}, hs256(unb64(JWKS["ed25519"]["x"])))
    yield "the Ed25519 key as a secret", source, ["ed25519"], signed, "algorithm"

    source = "RFC 8725 section 3.1"
    yield "PS256 as RS256", source, ["rsa-2048"], token({"alg": "RS256"}, ps("256", 32)), "signature"
    yield "RS256 as PS256", source, ["rsa-2048"], token({"alg": "PS256"}, rs("256")), "signature"
    yield "RS512 as RS256", source, ["rsa-2048"], token({"alg": "RS256"}, rs("512")), "signature"
    yield "RS256 as RS384", source, ["rsa-2048"], token({"alg": "RS384"}, rs("256")), "signature"
    for kid, alg in [("p-384", "ES256"), ("p-256", "ES384"), ("p-256", "RS256"), ("rsa-2048", "ES256"),
                     ("ed25519", "ES256"), ("p-256", "EdDSA"), ("oct-512", "RS256")]:
        signed = token({"alg": alg}, always(bytes(64)))
        yield f"{alg} with the key {kid} alone", source, [kid], signed, "algorithm"
    with_p384 = token({"alg": "ES256"}, es("p-384", "256", 48))
    yield "ES256 by a key on P-384", source, ["p-256", "p-384"], with_p384, "signature"
    with_p256 = token({"alg": "ES384"}, es("p-256", "384", 32))
    yield "ES384 by a key on P-256", source, ["p-256", "p-384"], with_p256, "signature"
    other_hash = token({"alg": "ES256"}, es("p-256", "384", 32))
    yield "ES256 with SHA-384", source, ["p-256"], other_hash, "signature"

    source = "RFC 7518 section 3.5"
    for salt in (0, 20, 31, 33, 222):
        signed = token({"alg": "PS256"}, ps("256", salt))
        yield f"PS256 with a salt of {salt} bytes", source, ["rsa-2048"], signed, "signature"

    source = "RFC 8017 section 8.2.2"
    size = 256
    good = rs("256")
    for name, sign in {
        "nothing": none,
        "zero": always(bytes(size)),
        "one": always((1).to_bytes(size, "big")),
        "the modulus": always(MODULUS.to_bytes(size, "big")),
        "the modulus less one": always((MODULUS - 1).to_bytes(size, "big")),
        "a zero byte before": lambda data: b"\0" + good(data),
        "a byte after": lambda data: good(data) + b"\0",
        "one byte less": lambda data: good(data)[:-1],
        "the modulus added": lambda data: (int.from_bytes(good(data), "big") + MODULUS).to_bytes(257, "big"),
        "twice": lambda data: good(data) * 2,
    }.items():
        for alg in ("RS256", "PS256"):
            yield f"{alg} signed with {name}", source, ["rsa-2048"], token({"alg": alg}, sign), "signature"

    source = "RFC 7518 section 3.4"
    n = ORDER_P256
    der = lambda data: KEYS["p-256"].sign(data, ec.ECDSA(HASHES["256"]))
    fixed = es("p-256", "256", 32)

    def halves(edit):
        def sign(data):
            signature = fixed(data)
            r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
            return edit(r, s)
        return sign

    for name, sign in {
        "nothing": none,
        "r = s = 0": pair(0, 0),
        "r = 0": pair(0, 1),
        "s = 0": pair(1, 0),
        "r = s = 1": pair(1, 1),
        "r = n": pair(n, 1),
        "s = n": pair(1, n),
        "r = s = n - 1": pair(n - 1, n - 1),
        "all bits set": always(b"\xff" * 64),
        "DER": der,
        "one byte less": lambda data: fixed(data)[:-1],
        "one byte more": lambda data: fixed(data) + b"\0",
        "a zero byte before both": lambda data: b"\0" + fixed(data)[:32] + b"\0" + fixed(data)[32:],
        "r and s swapped": lambda data: fixed(data)[32:] + fixed(data)[:32],
        "r alone": lambda data: fixed(data)[:32],
    }.items():
        yield f"ES256 signed with {name}", source, ["p-256"], token({"alg": "ES256"}, sign), "signature"
    # The curve is symmetric, so this is a signature as good as the first. RFC 7518
    # does not ask for the lower s.
    mirrored = halves(lambda r, s: r.to_bytes(32, "big") + (n - s).to_bytes(32, "big"))
    yield "ES256 signed with n - s", source, ["p-256"], token({"alg": "ES256"}, mirrored), "ok"

    source = "RFC 8032 section 5.1.7"

    def with_s(edit):
        def sign(data):
            signature = eddsa(data)
            s = edit(int.from_bytes(signature[32:], "little"))
            return signature[:32] + s.to_bytes(32, "little")
        return sign

    for name, sign in {
        "nothing": none,
        "zeros": always(bytes(64)),
        "R = 1 and S = 0": always(b"\1" + bytes(63)),
        "S + L": with_s(lambda s: s + ORDER_ED25519),
        "one byte less": lambda data: eddsa(data)[:-1],
        "one byte more": lambda data: eddsa(data) + b"\0",
        "a high bit of S set": with_s(lambda s: s | 1 << 255),
    }.items():
        yield f"EdDSA signed with {name}", source, ["ed25519"], token({"alg": "EdDSA"}, sign), "signature"

    source = "RFC 2104"
    right = hs256(KEYS["oct-512"])
    for name, sign in {
        "nothing": none,
        "half of the tag": lambda data: right(data)[:16],
        "all but a byte of the tag": lambda data: right(data)[:-1],
        "a byte after the tag": lambda data: right(data) + b"\0",
        "SHA-256 without a key": lambda data: hashlib.sha256(data).digest(),
        "the tag in hexadecimal": lambda data: right(data).hex().encode(),
    }.items():
        yield f"HS256 with {name}", source, ["oct-512"], token({"alg": "HS256"}, sign), "signature"

    source = "RFC 8725 section 3.10"
    for kid in ["../../../../dev/null", "/dev/null", "x' UNION SELECT 'secret'--", "rsa-2048\0", "RSA-2048",
                "rsa-2048 ", "", "http://attacker.example/key", "|whoami", "\ud7ff\u0000", "k" * 4096]:
        signed = token({"alg": "RS256", "kid": kid}, rs("256"))
        yield f"kid {kid[:40]!r}", source, everything, signed, "kid"
        signed = token({"alg": "HS256", "kid": kid}, hs256(b""))
        yield f"kid {kid[:40]!r} with an empty secret", source, everything, signed, "kid"
    for kid in [0, True, [], ["rsa-2048"], {"rsa-2048": 1}]:
        signed = token({"alg": "RS256", "kid": kid}, rs("256"))
        yield f"kid {kid!r}", source, everything, signed, "malformed"
    mallory = rsa.generate_private_key(65537, 2048)
    numbers = mallory.public_key().public_numbers()
    brought = {"kty": "RSA", "n": b64(numbers.n.to_bytes(256, "big")), "e": "AQAB", "kid": "rsa-2048"}
    by_mallory = lambda data: mallory.sign(data, padding.PKCS1v15(), HASHES["256"])
    for name, value in {"jwk": brought, "jku": "https://attacker.example/jwks", "x5u": "https://attacker.example/"}.items():
        signed = token({"alg": "RS256", "kid": "rsa-2048", name: value}, by_mallory)
        yield f"a key of the attacker's own by {name}", source, everything, signed, "malformed"
    chain = [base64.b64encode(spki(mallory)).decode()]
    for name, value in {"x5c": chain, "x5t": b64(bytes(20)), "x5t#S256": b64(bytes(32))}.items():
        signed = token({"alg": "RS256", "kid": "rsa-2048", name: value}, by_mallory)
        yield f"a key of the attacker's own by {name}", source, everything, signed, "signature"

    source = "RFC 7515 section 4"
    for name, header in {
        "alg twice": b'{"alg":"none","alg":"RS256"}',
        "alg twice, none last": b'{"alg":"RS256","alg":"none"}',
        "kid twice": b'{"alg":"RS256","kid":"x","kid":"rsa-2048"}',
        "an unknown name twice": b'{"alg":"RS256","a":1,"a":1}',
        "a name twice, once escaped": b'{"alg":"RS256","\\u0061lg":"RS256"}',
        "a name twice deep inside": b'{"alg":"RS256","a":[{"b":1,"b":1}]}',
        "a list": b'["RS256"]',
        "a text": b'"RS256"',
        "null": b"null",
        "nothing": b"",
        "an empty object": b"{}",
        "a byte order mark": b'\xef\xbb\xbf{"alg":"RS256"}',
        "UTF-16": '{"alg":"RS256"}'.encode("utf-16-le"),
        "bytes that are no UTF-8": b'{"alg":"RS256","a":"\xff"}',
        "half of a surrogate pair": b'{"alg":"RS256","a":"\\ud800"}',
        "something behind it": b'{"alg":"RS256"}{"alg":"none"}',
        "a comment": b'{"alg":"RS256"/**/}',
        "a comma too many": b'{"alg":"RS256",}',
        "apostrophes": b"{'alg':'RS256'}",
        "no end": b'{"alg":"RS256"',
        "3,000 brackets": b'{"alg":"RS256","a":' + b"[" * 3000 + b"]" * 3000 + b"}",
        "7,000 bytes too many": json.dumps({"alg": "RS256", "a": "x" * 7000}).encode(),
    }.items():
        yield f"a header with {name}", source, ["rsa-2048"], token(header, rs("256")), "malformed"
    for name, header in {
        "white space": b'\r\n\t {"alg" : "RS256"}\n',
        "an escaped name": b'{"\\u0061lg":"RS256"}',
        "an unknown name": b'{"alg":"RS256","a":[{"b":null}]}',
        "5,000 bytes more": json.dumps({"alg": "RS256", "a": "x" * 5000}).encode(),
    }.items():
        yield f"a header with {name}", source, ["rsa-2048"], token(header, rs("256")), "ok"

    source = "RFC 7515 section 4.1.11"
    for crit in [[], ["exp"], ["b64"], ["alg"], "b64", {}, 0, [""]]:
        signed = token({"alg": "RS256", "crit": crit, "b64": True}, rs("256"))
        yield f"crit {crit!r}", source, ["rsa-2048"], signed, "malformed"

    source = "RFC 7515 section 5.2"
    good_token = token({"alg": "RS256"}, rs("256"))
    header, payload, signature = good_token.split(".")
    other = b64(b'{"alg":"RS256" }')
    yield "a good token", source, ["rsa-2048"], good_token, "ok"
    for name, text in {
        "a space before": " " + good_token,
        "a line break after": good_token + "\n",
        "a line break in the signature": f"{header}.{payload}.{signature[:9]}\n{signature[9:]}",
        "padding": f"{header}.{payload}.{signature}==",
        "the padding of the header": f"{header}=.{payload}.{signature}",
        "the alphabet of base64": f"{header}.{payload}.{signature[:-4]}+/+/",
        "spare bits set": f"{header}.{payload}.{signature[:-1]}{chr(ord(signature[-1]) + 1)}",
        "no signature and no dot": f"{header}.{payload}",
        "four parts": f"{good_token}.",
        "five parts": f"{good_token}..",
        "an empty header": f".{payload}.{signature}",
        "no part": "",
        "two dots": "..",
        "a percent sign": f"{header}.{payload}%2e{signature}",
    }.items():
        yield f"a token with {name}", source, ["rsa-2048"], text, "malformed"
    for name, text in {
        "an empty payload": f"{header}..{signature}",
        "another payload": f"{header}.{b64(b'{}')}.{signature}",
        "no signature": f"{header}.{payload}.",
        "another header": f"{other}.{payload}.{signature}",
    }.items():
        yield f"a token with {name}", source, ["rsa-2048"], text, "signature"


def key_sets():
    """Source, what it is about, the key, and a part of why it is not used."""
    p256, p384, okp, rsa_key = (dict(JWKS[kid]) for kid in ("p-256", "p-384", "ed25519", "rsa-2048"))
    for key in (p256, p384, okp, rsa_key):
        for member in ("d", "p", "q", "dp", "dq", "qi"):
            key.pop(member, None)
    zeros = b64(bytes(32))
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    source = "RFC 8725 section 3.4"
    for about, x, y in [
        ("a point that is not on the curve", p256["x"], b64(unb64(p256["y"])[:-1] + b"\0")),
        ("x and y swapped", p256["y"], p256["x"]),
        ("zeros", zeros, zeros),
        ("coordinates of P-384", p384["x"], p384["y"]),
        ("a coordinate that is too short", b64(unb64(p256["x"])[1:]), p256["y"]),
        ("a coordinate with a zero byte before", b64(b"\0" + unb64(p256["x"])), p256["y"]),
        ("a coordinate as large as the field", b64(p.to_bytes(32, "big")), p256["y"]),
    ]:
        yield source, about, p256 | {"x": x, "y": y}, "no point on its curve"
    yield source, "an empty coordinate", p256 | {"y": ""}, 'lacks "y"'
    yield source, "P-384 that says P-256", p384 | {"crv": "P-256"}, "no point on its curve"
    source = "RFC 8032 section 5.1.3"
    for about, x in [
        ("the neutral point", b"\1" + bytes(31)),
        ("a point of order 2", b"\xec" + b"\xff" * 30 + b"\x7f"),
        ("a point of order 4", bytes(32)),
        ("a point of order 8", bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")),
        ("a coordinate that is no point's", b"\2" + bytes(31)),
        ("31 bytes", unb64(okp["x"])[:31]),
        ("33 bytes", unb64(okp["x"]) + b"\0"),
    ]:
        yield source, about, okp | {"x": b64(x)}, "no point on its curve"
    source = "RFC 7518 section 6.3"
    for about, e in [("0", 0), ("1", 1), ("2", 2), ("3", 3), ("65536", 65536), ("2^32 + 1", 2**32 + 1)]:
        size = max(1, (e.bit_length() + 7) // 8)
        yield source, f"the exponent {about}", rsa_key | {"e": b64(e.to_bytes(size, "big"))}, "exponent"
    yield source, "1024 bits", rsa_key | {"n": b64(unb64(rsa_key["n"])[:128])}, "1024 bits"
    source = "RFC 7518 section 3.2"
    for size in (0, 1, 31):
        key = {"kty": "oct", "k": b64(bytes(range(size)))}
        yield source, f"a secret of {size} bytes", key, "secret of" if size else 'lacks "k"'
    source = "RFC 7517 section 4"
    yield source, "a list", list(p256.values()), "no JSON Web Key"
    yield source, "a list in the order of the members", ["oct", None, None, None, None, None, None, None, None, None, b64(bytes(64)), None], "no JSON Web Key"
    yield source, "null", None, "no JSON Web Key"
    yield source, "kty in lower case", rsa_key | {"kty": "rsa"}, '"kty": "rsa"'
    yield source, "alg none", rsa_key | {"alg": "none"}, '"alg": "none"'
    yield source, "alg of another type", rsa_key | {"alg": "HS256"}, '"alg": "HS256"'
    yield source, "key_ops without verify", rsa_key | {"key_ops": ["encrypt"]}, "key_ops"
    yield source, "use enc", rsa_key | {"use": "enc"}, '"use": "enc"'


def main():
    old = json.loads(ATTACKS.read_text()) if ATTACKS.exists() else {"tokens": []}
    kept = {(it["source"], it["about"]): it for it in old["tokens"]}
    tokens = []
    for about, source, keys, text, expect in attacks():
        new = {"source": source, "about": about, "keys": keys, "token": text, "expect": expect}
        tokens.append(kept.get((source, about), new) | {"keys": keys, "expect": expect})
    public = {
        kid: {name: value for name, value in key.items() if name not in ("d", "p", "q", "dp", "dq", "qi")}
        for kid, key in JWKS.items()
    }
    sets = [
        {"source": source, "about": about, "keys": [key], "unusable": [why]}
        for source, about, key, why in key_sets()
    ]
    table = {
        "about": "Tokens and keys by which verifiers have been fooled. Written by make_attacks.py.",
        "keys": public,
        "tokens": tokens,
        "key_sets": sets,
    }
    ATTACKS.write_text(json.dumps(table, indent=1) + "\n")


main()
