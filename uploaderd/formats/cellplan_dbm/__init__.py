"""CellPlan / CellWireless `.dBm`: recordings of CellSpectrum stations, raw or CelZip."""
