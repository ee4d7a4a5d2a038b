-- With two more quantiles of each bin, the share of traces above any threshold is told closely.
ALTER TABLE spectra ADD COLUMN IF NOT EXISTS
    profile_p10 Array(Int16) COMMENT 'Level not exceeded in 10 % of the traces, 0.1 dB' CODEC(Delta, ZSTD(3)) AFTER profile_min;
ALTER TABLE spectra ADD COLUMN IF NOT EXISTS
    profile_p50 Array(Int16) COMMENT 'Median level over frequency, 0.1 dB' CODEC(Delta, ZSTD(3)) AFTER profile_p10;
CREATE OR REPLACE VIEW spectra_now AS SELECT * FROM spectra FINAL;
