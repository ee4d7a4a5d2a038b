"""Copies of the catalog on other servers, kept up to date by exports and confirmed by receipts."""
