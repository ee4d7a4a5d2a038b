-- What is asked for by station, content or id is found without reading the whole table.
--
-- Indexes of granules say which of them can be skipped. A query with FINAL reads the other versions of what it finds,
-- too (use_skip_indexes_if_final_exact_mode), so its answer stays exact.
ALTER TABLE files ADD COLUMN IF NOT EXISTS
    content UInt64 MATERIALIZED cityHash64(sha256) COMMENT 'Short hash of the content, for comparisons; made of sha256' CODEC(ZSTD(1)) AFTER version;
ALTER TABLE files ADD INDEX IF NOT EXISTS station host_uid TYPE set(100) GRANULARITY 1;
ALTER TABLE host_events ADD INDEX IF NOT EXISTS station host_uid TYPE set(100) GRANULARITY 1;
ALTER TABLE spectra ADD INDEX IF NOT EXISTS content left(spectrum_id, 24) TYPE bloom_filter(0.001) GRANULARITY 1;
ALTER TABLE files MATERIALIZE COLUMN content SETTINGS mutations_sync = 2;
ALTER TABLE files MATERIALIZE INDEX station SETTINGS mutations_sync = 2;
ALTER TABLE host_events MATERIALIZE INDEX station SETTINGS mutations_sync = 2;
ALTER TABLE spectra MATERIALIZE INDEX content SETTINGS mutations_sync = 2;
