"""The consents of SPREAD: what people can be asked, and the history of their answers. Knows no HTTP.

https://help.spreadfamily.fr/api/tFhSLgP1aV7CPGteu85q5Q/customer-consentement/p7wA9iEDwqCswGuNSo6yKR,
https://help.spreadfamily.fr/api/tFhSLgP1aV7CPGteu85q5Q/consentement/suKzv4bkqAGTjGEbYjyDUy
"""

from __future__ import annotations

from typing import Any

import msgspec

FIRST_TRACK_ID = 1000  # as in the vendor's sample

STATUSES = ("accepted", "refused", "toBeConfirmed", "unknown")
SETTABLE = ("accepted", "refused", "unknown")
API_SOURCE = "upstreamAPIv2POST"
V1_SOURCE = "upstreamAPIPOST"
SOURCES = (
    "campaignParticipation",
    "duplicationFromAPartnership",
    "confirmationOfADoubleOptin",
    "unsubscriptionUnifiedMessaging",
    "manualImport",
    "automaticImport",
    "upstreamAPIGET",
    "upstreamAPIGETJS",
    "upstreamAPIPOST",
    "unifiedMessaging",
    "transactionalEmail",
    "optinsMigration",
    "manualUpdate",
    "migrationOfCustomersToALegalBasis",
    "prospectMigrationToALegalBasis",
    "upstreamAPIv2POST",
    "publicConsentManagementUserInterface",
)


class ConsentDefinition(msgspec.Struct, rename="camel", frozen=True):
    """Something people can be asked."""

    id: str
    consent_type: str
    consent_name: str
    consent_tech_name: str
    created_at: str = "2018-02-07T10:24:34+0000"
    updated_at: str = "2018-02-07T10:24:34+0000"


# The last two share their technical name, as two consents of the vendor's sample do.
DEFINITIONS = (
    ConsentDefinition("9876", "Default newsletter", "Newsletter", "NewsEmail"),
    ConsentDefinition("9875", "Default phone", "SMS", "NewsSMS"),
    ConsentDefinition(
        "9874", "Default phone", "Téléphone", "J'accepte d'être contacté occasionnellement par téléphone"
    ),
    ConsentDefinition("9873", "Legal basis legitimate interest", "Base légale e-mail", "LegalBasisOptin"),
    ConsentDefinition("9872", "Legal basis legitimate interest", "Base légale SMS", "LegalBasisOptin"),
)


class ConsentEvent(msgspec.Struct, gc=False):
    """One answer of one customer to one consent; a later one takes its place without removing it."""

    track_id: str
    customer_id: str
    consent: ConsentDefinition
    created_at: str
    status: str
    source: str
    source_id: str | None = None
    ip: str | None = None
    channel_id: str | None = None

    def for_customer(self) -> dict[str, Any]:
        """As the history of one customer shows it."""
        return {
            "consentId": self.consent.id,
            "trackId": self.track_id,
            "consentTechName": self.consent.consent_tech_name,
            "customerConsentCreatedAt": self.created_at,
            "customerConsentStatus": self.status,
            "customerConsentSource": self.source,
            "customerConsentSourceId": self.source_id,
        }

    def for_consent(self) -> dict[str, Any]:
        """As the answers to one consent show it."""
        return {
            "id": self.customer_id,
            "trackId": self.track_id,
            "customerConsentCreatedAt": self.created_at,
            "customerConsentStatus": self.status,
            "customerConsentSource": self.source,
            "customerConsentSourceId": self.source_id,
        }


class Consents:
    """All answers, oldest first.

    :ivar events: every answer ever given.
    :ivar version: counts the changes.
    """

    def __init__(self) -> None:
        self.events: list[ConsentEvent] = []
        self.version = 0
        self._by_customer: dict[str, list[ConsentEvent]] = {}
        self._by_consent: dict[str, list[ConsentEvent]] = {}

    def add(
        self,
        customer_id: str,
        consent: ConsentDefinition,
        status: str,
        created_at: str,
        source: str,
        source_id: str | None = None,
        **more: str | None,
    ) -> ConsentEvent:
        """Note an answer."""
        track_id = str(FIRST_TRACK_ID + len(self.events))
        event = ConsentEvent(track_id, customer_id, consent, created_at, status, source, source_id, **more)
        self.events.append(event)
        self._by_customer.setdefault(customer_id, []).append(event)
        self._by_consent.setdefault(consent.id, []).append(event)
        self.version += 1
        return event

    def of_customer(self, customer_id: str) -> list[ConsentEvent]:
        """Return the history of one customer."""
        return self._by_customer.get(customer_id, [])

    def of_consent(self, consent_id: str) -> list[ConsentEvent]:
        """Everyone's answers to one consent."""
        return self._by_consent.get(consent_id, [])

    def by_track_id(self, track_id: str) -> ConsentEvent | None:
        """Return the answer of that number."""
        index = int(track_id) - FIRST_TRACK_ID if track_id.isdigit() else -1
        return self.events[index] if 0 <= index < len(self.events) else None

    def latest(self, customer_id: str, consent_id: str) -> ConsentEvent | None:
        """Return what a customer last answered to a consent."""
        return next((e for e in reversed(self.of_customer(customer_id)) if e.consent.id == consent_id), None)
