-- The catalog folds by key whatever a retry writes twice: read it through the views `…_now`.
CREATE TABLE IF NOT EXISTS hosts (
    host_id UInt64 COMMENT 'The station''s number in the monitoring system',
    host_uid String COMMENT 'The equipment''s own name',
    host_add String COMMENT 'Address or DNS name',
    host_port UInt16 COMMENT 'SSH port',
    user String COMMENT 'SSH user; never a password',
    equipment_type LowCardinality(String) COMMENT 'Type by prefix of the equipment''s name',
    last_contact DateTime64(3, 'UTC') COMMENT 'Last time the station answered; 1970: never',
    last_error String COMMENT 'Why the last contact failed; empty after a good one',
    updated_at DateTime64(6, 'UTC') COMMENT 'Version: the newest row counts'
) ENGINE = ReplacingMergeTree(updated_at) ORDER BY host_id
COMMENT 'One row a station; read through hosts_now';

CREATE TABLE IF NOT EXISTS host_events (
    host_id UInt64 COMMENT 'Station',
    event LowCardinality(String) COMMENT 'request, check, backup_waiting, backup_started, backup_done, backup_failed, stopped',
    outcome LowCardinality(String) COMMENT 'ok or error',
    code LowCardinality(String) COMMENT 'Stable error code; empty for ok',
    text String COMMENT 'Sentence for an operator' CODEC(ZSTD(3)),
    files UInt32 COMMENT 'Files concerned',
    bytes UInt64 COMMENT 'Bytes concerned',
    duration_s Float32 COMMENT 'Seconds that it took',
    host_uid LowCardinality(String) COMMENT 'The equipment''s own name',
    message_id String COMMENT 'Message that caused it' CODEC(ZSTD(3)),
    at DateTime64(3, 'UTC') COMMENT 'When' CODEC(DoubleDelta, ZSTD(1))
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(at) ORDER BY (host_id, at, event, message_id)
COMMENT 'What happened with stations; one row for one event of one message';

CREATE TABLE IF NOT EXISTS files (
    host_id UInt64 COMMENT 'Station',
    file_id FixedString(32) COMMENT 'Derived from station, remote path, size and mtime' CODEC(ZSTD(1)),
    remote_path String COMMENT 'Path on the station' CODEC(ZSTD(3)),
    size UInt64 COMMENT 'Bytes' CODEC(T64, ZSTD(1)),
    mtime_ns Int64 COMMENT 'Remote modification time, nanoseconds since 1970' CODEC(ZSTD(1)),
    stage LowCardinality(String) COMMENT 'discovered, fetched, processed, failed or trashed',
    host_uid LowCardinality(String) COMMENT 'The equipment''s own name',
    sha256 String COMMENT 'Hash of the content in hexadecimal; empty until fetched' CODEC(ZSTD(1)),
    verified LowCardinality(String) COMMENT 'How the transfer was verified: sha256-remote, double-read, size+mtime, none',
    format LowCardinality(String) COMMENT 'File format recognised',
    path String COMMENT 'Path below the repository' CODEC(ZSTD(3)),
    error_code LowCardinality(String) COMMENT 'Stable error code; empty if none',
    error_text String COMMENT 'Sentence for an operator' CODEC(ZSTD(3)),
    spectra UInt32 COMMENT 'Flows found in the file',
    discovered_at DateTime64(3, 'UTC') COMMENT 'First seen in index or listing; 1970: not recorded' CODEC(ZSTD(1)),
    fetched_at DateTime64(3, 'UTC') COMMENT 'Durable in the repository; 1970: not yet' CODEC(ZSTD(1)),
    processed_at DateTime64(3, 'UTC') COMMENT 'Catalogued; 1970: not yet' CODEC(ZSTD(1)),
    fetch_s Float32 COMMENT 'Seconds of the transfer',
    process_s Float32 COMMENT 'Seconds of the processing',
    message_id String COMMENT 'Message that brought the stage' CODEC(ZSTD(3)),
    version UInt64 COMMENT 'Version: the highest counts; nanoseconds since 1970' CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree(version) ORDER BY (host_id, file_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'The ledger: one row for each version of each file of a station; read through files_now';

CREATE TABLE IF NOT EXISTS spectra (
    spectrum_id FixedString(32) COMMENT 'Derived from file content and flow' CODEC(ZSTD(1)),
    file_id FixedString(32) COMMENT 'File it was read from' CODEC(ZSTD(1)),
    sha256 FixedString(64) COMMENT 'Hash of the file''s content in hexadecimal' CODEC(ZSTD(1)),
    host_id UInt64 COMMENT 'Station' CODEC(T64, ZSTD(1)),
    station LowCardinality(String) COMMENT 'The equipment''s own name',
    flow UInt32 COMMENT 'Number of the flow (thread) in the file' CODEC(T64, ZSTD(1)),
    freq_start UInt64 COMMENT 'Hz, first point' CODEC(T64, ZSTD(1)),
    freq_stop UInt64 COMMENT 'Hz, last point' CODEC(T64, ZSTD(1)),
    time_start DateTime64(3, 'UTC') COMMENT 'First trace' CODEC(DoubleDelta, ZSTD(1)),
    time_stop DateTime64(3, 'UTC') COMMENT 'Last trace' CODEC(DoubleDelta, ZSTD(1)),
    traces UInt32 COMMENT 'Traces (sweeps)' CODEC(T64, ZSTD(1)),
    points UInt32 COMMENT 'Points of a trace' CODEC(T64, ZSTD(1)),
    rbw Float32 COMMENT 'Resolution bandwidth, Hz; NaN: unknown' CODEC(ZSTD(1)),
    unit LowCardinality(String) COMMENT 'Unit of the levels: dBm, dBuV, dBuV/m',
    detector LowCardinality(String) COMMENT 'Detector: rms, peak, sample, average; empty: unknown',
    trace_type LowCardinality(String) COMMENT 'How traces were combined: clear_write, average, max_hold, min_hold',
    antenna LowCardinality(String) COMMENT 'Antenna or antenna port',
    procedure LowCardinality(String) COMMENT 'Measurement task',
    description LowCardinality(String) COMMENT 'The task''s description of this flow',
    format LowCardinality(String) COMMENT 'File format',
    site_id LowCardinality(String) COMMENT 'Site; empty: unknown or moving',
    latitude Float64 COMMENT 'Degrees, WGS 84; NaN: unknown' CODEC(ZSTD(1)),
    longitude Float64 COMMENT 'Degrees, WGS 84; NaN: unknown' CODEC(ZSTD(1)),
    altitude Float32 COMMENT 'Metres above mean sea level; NaN: unknown' CODEC(ZSTD(1)),
    revisit_s Float32 COMMENT 'Mean seconds between two traces; NaN for a single one' CODEC(ZSTD(1)),
    level_min Float32 COMMENT 'Lowest level; NaN: levels not read' CODEC(ZSTD(1)),
    level_mean Float32 COMMENT 'Mean of the levels in their unit' CODEC(ZSTD(1)),
    level_max Float32 COMMENT 'Highest level' CODEC(ZSTD(1)),
    level_p10 Float32 COMMENT 'Level that 10 % of the levels do not exceed: an estimate of the noise floor' CODEC(ZSTD(1)),
    level_p50 Float32 COMMENT 'Median level' CODEC(ZSTD(1)),
    level_p90 Float32 COMMENT 'Level that 90 % of the levels do not exceed' CODEC(ZSTD(1)),
    profile_mean Array(Int16) COMMENT 'Mean level over frequency, 0.1 dB, at most 1024 bins; -32768: no level' CODEC(Delta, ZSTD(3)),
    profile_max Array(Int16) COMMENT 'Highest level over frequency, 0.1 dB' CODEC(Delta, ZSTD(3)),
    profile_min Array(Int16) COMMENT 'Lowest level over frequency, 0.1 dB' CODEC(Delta, ZSTD(3)),
    profile_p90 Array(Int16) COMMENT 'Level not exceeded in 90 % of the traces, 0.1 dB' CODEC(Delta, ZSTD(3)),
    parser_version UInt16 COMMENT 'Version of the reader that made the row',
    ingested_at DateTime64(6, 'UTC') COMMENT 'Version: the newest row counts' CODEC(Delta, ZSTD(1))
) ENGINE = ReplacingMergeTree(ingested_at) PARTITION BY toYYYYMM(time_start)
ORDER BY (station, freq_start, time_start, spectrum_id)
COMMENT 'One row a flow of a file; read through spectra_now';

CREATE TABLE IF NOT EXISTS sites (
    site_id String COMMENT 'Identity of the site',
    latitude Float64 COMMENT 'Degrees, WGS 84: running mean of the fixes',
    longitude Float64 COMMENT 'Degrees, WGS 84: running mean of the fixes',
    altitude Float32 COMMENT 'Metres above mean sea level; NaN: unknown',
    fixes UInt32 COMMENT 'Fixes in the mean, at most 1000',
    name String COMMENT 'Name of the place',
    state LowCardinality(String) COMMENT 'State or region; empty: unknown',
    county LowCardinality(String) COMMENT 'County or municipality; empty: unknown',
    district LowCardinality(String) COMMENT 'District; empty: unknown',
    source LowCardinality(String) COMMENT 'Where the address comes from',
    updated_at DateTime64(6, 'UTC') COMMENT 'Version: the newest row counts'
) ENGINE = ReplacingMergeTree(updated_at) ORDER BY site_id
COMMENT 'Places where stations stand; read through sites_now';

CREATE TABLE IF NOT EXISTS equipment_types (
    prefix String COMMENT 'Beginning of the receiver''s name in lower case',
    name String COMMENT 'Type of equipment'
) ENGINE = ReplacingMergeTree ORDER BY prefix
COMMENT 'Equipment types by prefix of the receiver''s name';

CREATE TABLE IF NOT EXISTS file_types (
    format String COMMENT 'Name of the format in the catalog',
    name String COMMENT 'What users call it',
    extension String COMMENT 'Usual extension'
) ENGINE = ReplacingMergeTree ORDER BY format
COMMENT 'File formats';

CREATE TABLE IF NOT EXISTS units (
    unit String COMMENT 'Unit as in spectra.unit',
    name String COMMENT 'What it measures',
    symbol String COMMENT 'Symbol for printing'
) ENGINE = ReplacingMergeTree ORDER BY unit
COMMENT 'Units of levels';

CREATE OR REPLACE VIEW hosts_now AS SELECT * FROM hosts FINAL;
CREATE OR REPLACE VIEW files_now AS SELECT * FROM files FINAL;
CREATE OR REPLACE VIEW spectra_now AS SELECT * FROM spectra FINAL;
CREATE OR REPLACE VIEW sites_now AS SELECT * FROM sites FINAL;
CREATE OR REPLACE VIEW host_events_now AS SELECT * FROM host_events FINAL;
