"""The records of a NACHA file, column by column.

Source: Nacha Operating Rules, Appendix Three (ACH record format specifications), Appendix Four (returns),
Appendix Five (notifications of change) and Appendix Six (acknowledgements), as of the rules of 2026; compared
with the tables of moov-io/ach (Apache-2.0) on 2026-11-28.
"""

from __future__ import annotations

from typing import Final

from settlement_engine.messages.nacha.columns import Column, ColumnForm, layout

TEXT: Final = ColumnForm.TEXT
DIGITS: Final = ColumnForm.DIGITS
OR_BLANK: Final = ColumnForm.DIGITS_OR_BLANK
NUMBER: Final = ColumnForm.NUMBER
DATE: Final = ColumnForm.DATE
FIXED: Final = ColumnForm.FIXED
RESERVED: Final = ColumnForm.RESERVED

# --- file -------------------------------------------------------------------------------------------

FILE_HEADER: Final = layout(
    "file header",
    Column("record_type", 1, 1, FIXED, "1"),
    Column("priority", 2, 3, DIGITS),
    Column("destination", 4, 13, TEXT),
    Column("origin", 14, 23, TEXT),
    Column("created_on", 24, 29, DATE),
    Column("created_at", 30, 33, OR_BLANK),
    Column("modifier", 34, 34, TEXT),
    Column("record_size", 35, 37, FIXED, "094"),
    Column("blocking_factor", 38, 39, FIXED, "10"),
    Column("format_code", 40, 40, FIXED, "1"),
    Column("destination_name", 41, 63, TEXT),
    Column("origin_name", 64, 86, TEXT),
    Column("reference_code", 87, 94, TEXT),
)

FILE_CONTROL: Final = layout(
    "file control",
    Column("record_type", 1, 1, FIXED, "9"),
    Column("batches", 2, 7, NUMBER),
    Column("blocks", 8, 13, NUMBER),
    Column("entries_and_addenda", 14, 21, NUMBER),
    Column("entry_hash", 22, 31, NUMBER),
    Column("debit_cents", 32, 43, NUMBER),
    Column("credit_cents", 44, 55, NUMBER),
    Column("reserved", 56, 94, RESERVED),
)

ADVICE_FILE_CONTROL: Final = layout(
    "file control of advices",
    Column("record_type", 1, 1, FIXED, "9"),
    Column("batches", 2, 7, NUMBER),
    Column("blocks", 8, 13, NUMBER),
    Column("entries_and_addenda", 14, 21, NUMBER),
    Column("entry_hash", 22, 31, NUMBER),
    Column("debit_cents", 32, 51, NUMBER),
    Column("credit_cents", 52, 71, NUMBER),
    Column("reserved", 72, 94, RESERVED),
)

# --- batch ------------------------------------------------------------------------------------------

BATCH_HEADER: Final = layout(
    "batch header",
    Column("record_type", 1, 1, FIXED, "5"),
    Column("service_class", 2, 4, DIGITS),
    Column("company_name", 5, 20, TEXT),
    Column("discretionary_data", 21, 40, TEXT),
    Column("company_id", 41, 50, TEXT),
    Column("entry_class", 51, 53, TEXT),
    Column("description", 54, 63, TEXT),
    Column("descriptive_date", 64, 69, TEXT),
    Column("effective_date", 70, 75, DATE),
    Column("settlement_day", 76, 78, TEXT),
    Column("originator_status", 79, 79, TEXT),
    Column("institution", 80, 87, DIGITS),
    Column("batch_number", 88, 94, NUMBER),
)
"""In an IAT batch, columns 5-40 hold its currency exchange, and 64-69 the two currencies."""

BATCH_CONTROL: Final = layout(
    "batch control",
    Column("record_type", 1, 1, FIXED, "8"),
    Column("service_class", 2, 4, DIGITS),
    Column("entries_and_addenda", 5, 10, NUMBER),
    Column("entry_hash", 11, 20, NUMBER),
    Column("debit_cents", 21, 32, NUMBER),
    Column("credit_cents", 33, 44, NUMBER),
    Column("company_id", 45, 54, TEXT),
    Column("authentication", 55, 73, TEXT),
    Column("reserved", 74, 79, RESERVED),
    Column("institution", 80, 87, DIGITS),
    Column("batch_number", 88, 94, NUMBER),
)

ADVICE_BATCH_CONTROL: Final = layout(
    "batch control of advices",
    Column("record_type", 1, 1, FIXED, "8"),
    Column("service_class", 2, 4, DIGITS),
    Column("entries_and_addenda", 5, 10, NUMBER),
    Column("entry_hash", 11, 20, NUMBER),
    Column("debit_cents", 21, 40, NUMBER),
    Column("credit_cents", 41, 60, NUMBER),
    Column("operator_data", 61, 79, TEXT),
    Column("institution", 80, 87, DIGITS),
    Column("batch_number", 88, 94, NUMBER),
)

# --- entries ----------------------------------------------------------------------------------------

ENTRY: Final = layout(
    "entry",
    Column("record_type", 1, 1, FIXED, "6"),
    Column("transaction_code", 2, 3, DIGITS),
    Column("receiver", 4, 12, DIGITS),
    Column("account", 13, 29, TEXT),
    Column("amount_cents", 30, 39, NUMBER),
    Column("identification", 40, 54, TEXT),
    Column("name", 55, 76, TEXT),
    Column("discretionary_data", 77, 78, TEXT),
    Column("addenda_indicator", 79, 79, NUMBER),
    Column("trace_number", 80, 94, DIGITS),
)

ADDENDA_COUNTING_ENTRY: Final = layout(
    "entry that counts its addenda",
    Column("record_type", 1, 1, FIXED, "6"),
    Column("transaction_code", 2, 3, DIGITS),
    Column("receiver", 4, 12, DIGITS),
    Column("account", 13, 29, TEXT),
    Column("amount_cents", 30, 39, NUMBER),
    Column("identification", 40, 54, TEXT),
    Column("addenda_count", 55, 58, OR_BLANK),
    Column("name", 59, 74, TEXT),
    Column("reserved", 75, 76, RESERVED),
    Column("discretionary_data", 77, 78, TEXT),
    Column("addenda_indicator", 79, 79, NUMBER),
    Column("trace_number", 80, 94, DIGITS),
)
"""CTX, its acknowledgement ATX, and TRX."""

INTERNATIONAL_ENTRY: Final = layout(
    "entry (IAT)",
    Column("record_type", 1, 1, FIXED, "6"),
    Column("transaction_code", 2, 3, DIGITS),
    Column("receiver", 4, 12, DIGITS),
    Column("addenda_count", 13, 16, OR_BLANK),
    Column("reserved", 17, 29, RESERVED),
    Column("amount_cents", 30, 39, NUMBER),
    Column("account", 40, 74, TEXT),
    Column("reserved_too", 75, 76, RESERVED),
    Column("discretionary_data", 77, 78, TEXT),  # the two indicators of sanctions screening
    Column("addenda_indicator", 79, 79, NUMBER),
    Column("trace_number", 80, 94, DIGITS),
)

ADVICE_ENTRY: Final = layout(
    "entry of advice",
    Column("record_type", 1, 1, FIXED, "6"),
    Column("transaction_code", 2, 3, DIGITS),
    Column("receiver", 4, 12, DIGITS),
    Column("account", 13, 27, TEXT),
    Column("amount_cents", 28, 39, NUMBER),
    Column("identification", 40, 54, TEXT),  # the advised party, the file and the operator's data
    Column("name", 55, 76, TEXT),
    Column("discretionary_data", 77, 78, TEXT),
    Column("addenda_indicator", 79, 79, NUMBER),
    Column("trace_number", 80, 94, DIGITS),  # the operator, the day of the year and a sequence
)

# --- addenda ----------------------------------------------------------------------------------------

REMITTANCE: Final = layout(
    "addenda 05",
    Column("record_type", 1, 3, FIXED, "705"),
    Column("text", 4, 83, TEXT),
    Column("sequence", 84, 87, NUMBER),
    Column("entry_sequence", 88, 94, DIGITS),
)

RETURN: Final = layout(
    "addenda 99",
    Column("record_type", 1, 3, FIXED, "799"),
    Column("code", 4, 6, TEXT),
    Column("original_trace", 7, 21, TEXT),
    Column("died_on", 22, 27, TEXT),
    Column("original_receiver", 28, 35, TEXT),
    Column("information", 36, 79, TEXT),
    Column("trace_number", 80, 94, TEXT),
)

DISHONORED_RETURN: Final = layout(
    "addenda 99 of a dishonoured return",
    Column("record_type", 1, 3, FIXED, "799"),
    Column("code", 4, 6, TEXT),
    Column("original_trace", 7, 21, TEXT),
    Column("reserved", 22, 27, RESERVED),
    Column("original_receiver", 28, 35, TEXT),
    Column("reserved_too", 36, 38, RESERVED),
    Column("return_trace", 39, 53, TEXT),
    Column("return_settlement_day", 54, 56, TEXT),
    Column("return_code", 57, 58, TEXT),
    Column("information", 59, 79, TEXT),
    Column("trace_number", 80, 94, TEXT),
)

CONTESTED_RETURN: Final = layout(
    "addenda 99 of a contested dishonoured return",
    Column("record_type", 1, 3, FIXED, "799"),
    Column("code", 4, 6, TEXT),
    Column("original_trace", 7, 21, TEXT),
    Column("returned_on", 22, 27, TEXT),
    Column("original_receiver", 28, 35, TEXT),
    Column("original_settlement_day", 36, 38, TEXT),
    Column("return_trace", 39, 53, TEXT),
    Column("return_settlement_day", 54, 56, TEXT),
    Column("return_code", 57, 58, TEXT),
    Column("dishonored_trace", 59, 73, TEXT),
    Column("dishonored_settlement_day", 74, 76, TEXT),
    Column("dishonored_code", 77, 78, TEXT),
    Column("reserved", 79, 79, RESERVED),
    Column("trace_number", 80, 94, TEXT),
)

CHANGE: Final = layout(
    "addenda 98",
    Column("record_type", 1, 3, FIXED, "798"),
    Column("code", 4, 6, TEXT),
    Column("original_trace", 7, 21, TEXT),
    Column("reserved", 22, 27, RESERVED),
    Column("original_receiver", 28, 35, TEXT),
    Column("corrected_data", 36, 64, TEXT),
    Column("reserved_too", 65, 79, RESERVED),
    Column("trace_number", 80, 94, TEXT),
)

REFUSED_CHANGE: Final = layout(
    "addenda 98 of a refused notification",
    Column("record_type", 1, 3, FIXED, "798"),
    Column("code", 4, 6, TEXT),
    Column("original_trace", 7, 21, TEXT),
    Column("reserved", 22, 27, RESERVED),
    Column("original_receiver", 28, 35, TEXT),
    Column("corrected_data", 36, 64, TEXT),
    Column("refused_code", 65, 67, TEXT),
    Column("refused_sequence", 68, 74, TEXT),
    Column("reserved_too", 75, 79, RESERVED),
    Column("trace_number", 80, 94, TEXT),
)

OTHER_ADDENDA: Final = layout(
    "addenda",
    Column("record_type", 1, 1, FIXED, "7"),
    Column("addenda_type", 2, 3, DIGITS),
    Column("text", 4, 94, TEXT),
)
