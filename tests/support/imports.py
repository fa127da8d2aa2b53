"""Export files of other systems, with password hashes of every kind at the minimum cost."""

import hashlib
import hmac
import json
import os
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import argon2
import bcrypt

PASSWORD = "correct horse battery staple"


def foreign_hashes(password: str = PASSWORD) -> dict[str, str]:
    """Return one hash of a password for each kind of system, made independently of the product."""
    typed, salt = password.encode(), os.urandom(16)
    made = {"bcrypt": bcrypt.hashpw(typed[:72], bcrypt.gensalt(4)).decode()}
    for version in ("2a", "2y"):
        made[f"bcrypt {version}"] = made["bcrypt"].replace("$2b$", f"${version}$")
    for kind in argon2.Type:
        made[f"argon2 {kind.name}"] = argon2.PasswordHasher(1, 64, 1, type=kind).hash(typed)
    for name in ("sha1", "sha256", "sha512"):
        digest = hashlib.pbkdf2_hmac(name, typed, salt, 1000)
        suffix = "" if name == "sha1" else f"-{name}"
        made[f"passlib pbkdf2 {name}"] = f"$pbkdf2{suffix}$1000${ab64(salt)}${ab64(digest)}"
        text = salt.hex()
        digest = hashlib.pbkdf2_hmac(name, typed, text.encode(), 1000)
        made[f"django pbkdf2 {name}"] = f"pbkdf2_{name}$1000${text}${b64encode(digest).decode()}"
        made[f"werkzeug pbkdf2 {name}"] = f"pbkdf2:{name}:1000${text}${digest.hex()}"
    digest = hashlib.pbkdf2_hmac("sha256", typed, salt, 1000, 64)
    made["keycloak"] = f"$pbkdf2-sha256$1000${b64encode(salt).decode()}${b64encode(digest).decode()}"
    digest = hashlib.scrypt(typed, salt=salt, n=16, r=8, p=1, dklen=32)
    made["passlib scrypt"] = f"$scrypt$ln=4,r=8,p=1${ab64(salt)}${ab64(digest)}"
    digest = hashlib.scrypt(typed, salt=salt.hex().encode(), n=16, r=8, p=2)
    made["werkzeug scrypt"] = f"scrypt:16:8:2${salt.hex()}${digest.hex()}"
    digest = hashlib.pbkdf2_hmac("sha256", typed, salt, 1000)
    unpadded = [b64encode(part).decode().rstrip("=") for part in (salt, digest)]
    made["phc pbkdf2"] = "$pbkdf2-sha256$i=1000,l=32$" + "$".join(unpadded)
    made["openldap pbkdf2"] = f"{{PBKDF2-SHA256}}1000${ab64(salt)}${ab64(digest)}"
    digest = hashlib.scrypt(typed, salt=salt, n=64, r=8, p=1, dklen=32)
    made["kratos scrypt"] = f"$scrypt$ln=64,r=8,p=1${b64encode(salt).decode()}${b64encode(digest).decode()}"
    digest = hashlib.scrypt(typed, salt=salt.hex().encode(), n=16, r=8, p=5, dklen=64)
    made["django scrypt"] = f"scrypt$16${salt.hex()}$8$5${b64encode(digest).decode()}"
    prehashed = hashlib.sha256(typed).hexdigest().encode()
    made["django bcrypt_sha256"] = f"bcrypt_sha256${bcrypt.hashpw(prehashed, bcrypt.gensalt(4)).decode()}"
    prehashed = b64encode(hmac.digest(b"wp-sha384", typed, "sha384"))
    made["wordpress"] = "$wp" + bcrypt.hashpw(prehashed, bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
    digest = hashlib.pbkdf2_hmac("sha512", typed, salt, 1000, 32)
    marker = b"\x01" + b"".join(number.to_bytes(4) for number in (2, 1000, len(salt)))
    made["asp.net identity"] = b64encode(marker + salt + digest).decode()
    for name in ("sha1", "sha256", "sha512"):
        suffix = "" if name == "sha1" else name.removeprefix("sha")
        made[f"ldap ssha{suffix}"] = (
            f"{{SSHA{suffix}}}" + b64encode(hashlib.new(name, typed + salt).digest() + salt).decode()
        )
    made["django argon2"] = "argon2" + made["argon2 ID"]
    made["django bcrypt"] = "bcrypt$" + made["bcrypt"]
    made["ldap bcrypt"] = "{BCRYPT}" + made["bcrypt"]
    made["ldap crypt"] = "{crypt}" + made["bcrypt 2y"]
    made["ldap argon2"] = "{ARGON2}" + made["argon2 ID"]
    return made


def ab64(data: bytes) -> str:
    """Return the base64 of passlib."""
    return b64encode(data).decode().rstrip("=").replace("+", ".")


def people(count: int, domain: str = "example.com") -> Iterator[dict[str, Any]]:
    """Return users with most claims, whose hashes take turns."""
    hashes = list(foreign_hashes().values())
    for number in range(count):
        yield {
            "email": f"Person.{number}@{domain}",
            "email_verified": number % 3 > 0,
            "name": f"Zoë Nº {number}",
            "given_name": "Zoë",
            "family_name": f"Nº {number}",
            "preferred_username": f"person{number}",
            "picture": f"https://{domain}/{number}.png",
            "birthdate": f"19{number % 100:02}-02-28",
            "zoneinfo": "Europe/Berlin",
            "locale": "de-DE",
            "phone_number": f"+49 30 {number}",
            "address": {"street_address": f"Unter den Linden {number}\nHinterhaus", "country": "DE"},
            "password_hash": hashes[number % len(hashes)],
            "disabled": number % 50 == 0,
        }


def write_json_lines(path: Path, users: Iterator[dict[str, Any]]) -> Path:
    """Write a file of JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(user, ensure_ascii=False)}\n" for user in users)
    return path
