"""Adds people to a suppression file, before the first of them is erased: whoever is erased must not come back.

Knows no CRM. The file holds SHA-256 hashes of addresses, and is a source of :mod:`.suppression` as it is.
"""

from __future__ import annotations

import hashlib

from airflow_provider_crm.bulk.suppression import DigestSet
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.files import locate
from airflow_provider_crm.rows.journal import Journal, JournalLostError
from airflow_provider_crm.rows.row import AnyRow, Row, UnreadableRow
from airflow_provider_crm.rows.scratch import scratch_file
from airflow_provider_crm.rows.sources import open_source
from airflow_provider_crm.values import normal_email

SUFFIX = ".jsonl"
_SIZE = hashlib.sha256().digest_size


class AddToSuppressionFile:
    """Sees the rows of a source, and adds their people to a file once nothing speaks against them.

    :param path: of the file, ``.jsonl``; it grows, and is made where there is none.
    :param email_field: the column with the address.
    """

    def __init__(self, path: str, email_field: str) -> None:
        if not path.endswith(SUFFIX):
            raise CrmInputError(f"`suppression_path` ends in {SUFFIX}, so that it can grow line by line")
        self._path = path
        self._email_field = email_field
        self._seen = scratch_file(self)

    def see(self, row: AnyRow) -> bool:
        if isinstance(row, Row):
            try:
                email = normal_email(row.data.get(self._email_field))
            except ValueError:
                return True  # rejected in its turn
            self._seen.write(hashlib.sha256(email.encode(errors="surrogatepass")).digest())
        return True

    def conclude(self) -> None:
        """Add those who are not in the file.

        :raises CrmInputError: the file cannot be read or written.
        """
        location = locate(self._path)
        exists = location.is_file()
        known = self._known() if exists else DigestSet()
        journal = Journal(self._path)
        try:
            journal.open(resume_at=(location.size() if exists else 0) or None)
        except JournalLostError as error:
            raise CrmInputError(f"The last line of {self._path} is cut off: complete or remove it") from error
        self._seen.seek(0)
        while digest := self._seen.read(_SIZE):
            if digest not in known:
                known.add(digest)
                journal.append({"email": digest.hex()})
        journal.close()

    def _known(self) -> DigestSet:
        known = DigestSet()
        for row in open_source(self._path):
            if isinstance(row, UnreadableRow):
                raise CrmInputError(f"{self._path} cannot be read at row {row.number}: {row.reason}")
            value = str(row.data.get("email") or "")
            if len(value) == 2 * _SIZE:
                known.add(bytes.fromhex(value))
        return known
