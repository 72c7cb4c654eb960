"""The report: what runs measured and made, on one HTML page that works without a network."""

from textok.report.page import write_report
from textok.report.record import RunRecord, read_records

__all__ = ["RunRecord", "read_records", "write_report"]
