"""What the operators of all CRMs share: writes, exports, windows, metrics."""
