#!/usr/bin/env python3
"""Writes signed.json and assignments.json: what the filter must accept, and where it
must put whom, worked out without the filter's own code.

    python3 tests/cases/canary-routing/make_signed.py

The keys are public and protect nothing.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import struct

HERE = pathlib.Path(__file__).parent
KEY = b"canary-routing: a public key of the tests"
OTHER_KEY = b"canary-routing: another key of the tests!"
FAR = 4102444800  # 2100-01-01
PAST = 1600000000  # 2020-09-13
MASK = (1 << 64) - 1


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def code(key, use, *parts):
    label = f"mesh-filters canary-routing {use} v1".encode()
    message = b"".join(part + b"\0" for part in (label, *parts))
    return hmac.new(key, message, hashlib.sha256).digest()


def override(experiment, variant, expiry=FAR, key=KEY, use="override"):
    signed = f"{experiment}.{variant}.{expiry}"
    return f"{signed}.{base64url(code(key, use, signed.encode()))}"


def cookie(experiment, bucket, expiry=FAR, key=KEY, use="cookie", version=1):
    signed = bucket + struct.pack(">Q", expiry)
    return base64url(bytes([version]) + signed + code(key, use, experiment.encode(), signed))


def rotate(number, by):
    return (number << by | number >> (64 - by)) & MASK


def siphash_2_4(k0, k1, data):
    """SipHash-2-4 (Aumasson and Bernstein, 2012)."""
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573

    def sip_round():
        nonlocal v0, v1, v2, v3
        v0 = (v0 + v1) & MASK
        v1 = rotate(v1, 13) ^ v0
        v0 = rotate(v0, 32)
        v2 = (v2 + v3) & MASK
        v3 = rotate(v3, 16) ^ v2
        v0 = (v0 + v3) & MASK
        v3 = rotate(v3, 21) ^ v0
        v2 = (v2 + v1) & MASK
        v1 = rotate(v1, 17) ^ v2
        v2 = rotate(v2, 32)

    whole = len(data) - len(data) % 8
    tail = data[whole:] + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for at in range(0, whole + 8, 8):
        word = struct.unpack("<Q", (data[:whole] + tail)[at : at + 8])[0]
        v3 ^= word
        sip_round()
        sip_round()
        v0 ^= word
    v2 ^= 0xFF
    for _ in range(4):
        sip_round()
    return v0 ^ v1 ^ v2 ^ v3


# The vector of the paper's appendix A.
assert siphash_2_4(0x0706050403020100, 0x0F0E0D0C0B0A0908, bytes(range(15))) == 0xA129CA6149BE45E5


def variant_of(salt, weights, key):
    """Each variant in turn takes its share of what none before it took."""
    k0, k1 = struct.unpack("<QQ", hashlib.sha256(salt.encode()).digest()[:16])
    left = sum(weight for _, weight in weights)
    for name, weight in weights:
        drawn = siphash_2_4(k0, k1, name.encode() + b"\0" + key)
        if drawn * left >> 64 < weight:
            return name
        left -= weight
    raise AssertionError("the weights are used up")


BUCKET = bytes(range(16))
SIGNED = {
    "canary": override("checkout", "canary"),
    "stable": override("checkout", "stable"),
    "expired": override("checkout", "canary", expiry=PAST),
    "other-key": override("checkout", "canary", key=OTHER_KEY),
    "other-use": override("checkout", "canary", use="cookie"),
    "other-experiment": override("search", "canary"),
    "unknown-variant": override("checkout", "purple"),
    "cookie": cookie("checkout", BUCKET),
    "cookie-expired": cookie("checkout", BUCKET, expiry=PAST),
    "cookie-other-key": cookie("checkout", BUCKET, key=OTHER_KEY),
    "cookie-other-use": cookie("checkout", BUCKET, use="override"),
    "cookie-other-experiment": cookie("search", BUCKET),
    "cookie-other-version": cookie("checkout", BUCKET, version=2),
}
SALT = "checkout-2026"
WEIGHTS = [("canary", 20_000), ("blue", 30_000), ("stable", 50_000)]
USERS = [f"user-{number}" for number in range(500)] + ["", "\u00e9", "a" * 1000]
ASSIGNMENTS = {
    "about": "Which variant each client has with these weights, canary first.",
    "salt": SALT,
    "weights": [{"variant": name, "weight": weight / 1000} for name, weight in WEIGHTS],
    "clients": {user: variant_of(SALT, WEIGHTS, user.encode()) for user in USERS if user},
    "bucket": variant_of(SALT, WEIGHTS, BUCKET),
}

for name, content in [("signed", SIGNED), ("assignments", ASSIGNMENTS)]:
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (HERE / f"{name}.json").write_text(text + "\n")
