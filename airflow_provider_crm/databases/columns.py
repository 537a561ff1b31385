"""Columns that mean the same in every database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

#: Numbers a row; SQLite numbers rows by itself in a column of type INTEGER only.
Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class Text(sa.types.TypeDecorator[str]):
    """A text of a bounded length in Unicode, compared letter by letter.

    MySQL and MariaDB would otherwise keep it in the database's own charset, which may be latin1, and take "A" and "a"
    for the same key.

    :param length: characters at most.
    :param words: it is only for people to read, so that what does not fit is cut off.
    """

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int, *, words: bool = False) -> None:
        super().__init__(length)
        self.length = length
        self.words = words

    def load_dialect_impl(self, dialect: Any) -> Any:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(
                mysql.VARCHAR(self.length, charset="utf8mb4", collation="utf8mb4_bin")
            )
        return dialect.type_descriptor(sa.String(self.length))

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        if value is None or not self.words:
            return value
        # PostgreSQL takes no NUL, and no database half a character.
        whole = value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        return whole if len(whole) <= self.length else f"{whole[: self.length - 1]}…"
