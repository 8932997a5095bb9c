"""SQL that takes extracted values apart: a page of them becomes typed rows, fields, evidence and problems."""
