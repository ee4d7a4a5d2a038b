-- Rows lie in the order in which they come about, and what a status needs to know of the ledger lies with its parts.
--
-- Ids of files begin with the file's time (decision 0110), ids of spectra with the content's hash (0111), versions of
-- files with the rank of the stage. Rows of older releases get the ids and versions that this release would have given
-- them. Each table is copied, and the copy takes its place in one step. That step is left out if it was taken before a
-- crash: a second one would undo it.
CREATE TABLE IF NOT EXISTS host_events_0030 (
    host_id UInt64 COMMENT 'Station',
    event LowCardinality(String) COMMENT 'request, check, backup_waiting, backup_started, backup_done, backup_failed, stopped',
    outcome LowCardinality(String) COMMENT 'ok or error',
    code LowCardinality(String) COMMENT 'Stable error code; empty for ok',
    text String COMMENT 'Sentence for an operator' CODEC(ZSTD(3)),
    files UInt32 COMMENT 'Files concerned',
    bytes UInt64 COMMENT 'Bytes concerned',
    duration_s Float32 COMMENT 'Seconds that it took',
    pending Int64 DEFAULT -1 COMMENT 'Files seen at the station and not brought yet; -1: not counted' CODEC(ZSTD(1)),
    host_uid LowCardinality(String) COMMENT 'The equipment''s own name',
    message_id String COMMENT 'Message that caused it' CODEC(ZSTD(3)),
    at DateTime64(3, 'UTC') COMMENT 'When' CODEC(DoubleDelta, ZSTD(1))
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(at) ORDER BY (host_id, event, at, message_id)
SETTINGS index_granularity = 1024, enable_block_number_column = 1
COMMENT 'What happened with stations; one row for one event of one message';

INSERT INTO host_events_0030 SELECT * FROM host_events FINAL
SETTINGS max_partitions_per_insert_block = 0, distributed_foreground_insert = 1;
-- unless: SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = 'host_events' AND sorting_key LIKE 'host_id, event%'
EXCHANGE TABLES host_events AND host_events_0030;
DROP TABLE IF EXISTS host_events_0030 SYNC;

CREATE TABLE IF NOT EXISTS spectra_0030 (
    spectrum_id FixedString(32) COMMENT 'First 24 digits of the content''s SHA-256, then the flow''s place in the file as 8' CODEC(ZSTD(1)),
    file_id FixedString(32) COMMENT 'File it was read from' CODEC(ZSTD(1)),
    sha256 FixedString(64) COMMENT 'Hash of the file''s content in hexadecimal' CODEC(ZSTD(1)),
    host_id UInt64 COMMENT 'Station' CODEC(ZSTD(1)),
    station LowCardinality(String) COMMENT 'The equipment''s own name',
    flow UInt32 COMMENT 'Number of the flow (thread) in the file' CODEC(ZSTD(1)),
    freq_start UInt64 COMMENT 'Hz, first point' CODEC(ZSTD(1)),
    freq_stop UInt64 COMMENT 'Hz, last point' CODEC(ZSTD(1)),
    time_start DateTime64(3, 'UTC') COMMENT 'First trace' CODEC(Delta, ZSTD(1)),
    time_stop DateTime64(3, 'UTC') COMMENT 'Last trace' CODEC(Delta, ZSTD(1)),
    traces UInt32 COMMENT 'Traces (sweeps)' CODEC(T64, ZSTD(1)),
    points UInt32 COMMENT 'Points of a trace' CODEC(ZSTD(1)),
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
    profile_p10 Array(Int16) COMMENT 'Level not exceeded in 10 % of the traces, 0.1 dB' CODEC(Delta, ZSTD(3)),
    profile_p50 Array(Int16) COMMENT 'Median level over frequency, 0.1 dB' CODEC(Delta, ZSTD(3)),
    profile_p90 Array(Int16) COMMENT 'Level not exceeded in 90 % of the traces, 0.1 dB' CODEC(Delta, ZSTD(3)),
    parser_version UInt16 COMMENT 'Version of the reader that made the row',
    ingested_at DateTime64(6, 'UTC') COMMENT 'Version: the newest row counts' CODEC(Delta, ZSTD(1))
) ENGINE = ReplacingMergeTree(ingested_at) PARTITION BY toYYYYMM(time_start)
ORDER BY (station, time_start, freq_start, spectrum_id)
SETTINGS enable_block_number_column = 1
COMMENT 'One row a flow of a file; read through spectra_now';

-- An old id hides the place of its flow, which is found by trying as many as its file has. A row whose file the ledger
-- does not know keeps the old id of the file.
INSERT INTO spectra_0030
SELECT old.* EXCEPT (place) REPLACE (
    if(place = 0, old.spectrum_id,
       toFixedString(concat(substring(old.sha256, 1, 24), leftPad(lower(hex(toUInt32(place - 1))), 8, '0')), 32)) AS spectrum_id,
    if(file.id = '', old.file_id, toFixedString(file.id, 32)) AS file_id)
FROM (
    SELECT each.*, arrayFirstIndex(n -> each.spectrum_id = lower(left(hex(SHA256(
        concat('spectrum\0', toString(each.sha256), '\0', toString(n)))), 32)), range(content.flows)) AS place
    FROM (SELECT * FROM spectra FINAL) AS each
    GLOBAL ANY LEFT JOIN (
        SELECT sha256, uniqExact(spectrum_id) AS flows FROM spectra GROUP BY sha256
    ) AS content ON content.sha256 = each.sha256
) AS old
GLOBAL ANY LEFT JOIN (
    SELECT file_id, concat(leftPad(lower(hex(toUInt32(greatest(0, least(4294967295, intDiv(mtime_ns, 1000000000)))))), 8, '0'),
                           left(file_id, 24)) AS id
    FROM files
) AS file ON file.file_id = old.file_id
SETTINGS join_algorithm = 'grace_hash', max_partitions_per_insert_block = 0, distributed_foreground_insert = 1;
-- unless: SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = 'spectra' AND sorting_key LIKE 'station, time_start%'
EXCHANGE TABLES spectra AND spectra_0030;
DROP TABLE IF EXISTS spectra_0030 SYNC;

CREATE TABLE IF NOT EXISTS files_0030 (
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
    discovered_at DateTime64(3, 'UTC') COMMENT 'When the backup that brought it saw it; 1970: not recorded' CODEC(ZSTD(1)),
    fetched_at DateTime64(3, 'UTC') COMMENT 'Durable in the repository; 1970: not yet' CODEC(ZSTD(1)),
    processed_at DateTime64(3, 'UTC') COMMENT 'Catalogued; 1970: not yet' CODEC(T64, LZ4),
    fetch_s Float32 COMMENT 'Seconds of the transfer',
    process_s Float32 COMMENT 'Seconds of the processing',
    message_id String COMMENT 'Message that brought the stage' CODEC(ZSTD(3)),
    version UInt64 COMMENT 'Version: the highest counts; rank of the stage in the upper three bits, then nanoseconds since 1970' CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree(version) ORDER BY (host_id, file_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, enable_block_number_column = 1
COMMENT 'The ledger: one row for each version of each file of a station; read through files_now';

-- A sum of hashes for each stretch of a station's ids, 18 hours: while it stays the same, so do the counts of the files by
-- stage (decision 0160).
ALTER TABLE files_0030 MODIFY SETTING
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';
ALTER TABLE files_0030 ADD PROJECTION IF NOT EXISTS stretches (
    SELECT host_id, reinterpretAsUInt32(file_id), sum(cityHash64(file_id, version))
    GROUP BY host_id, reinterpretAsUInt32(file_id)
);
INSERT INTO files_0030
SELECT * REPLACE (
    toFixedString(concat(leftPad(lower(hex(toUInt32(greatest(0, least(4294967295, intDiv(mtime_ns, 1000000000)))))), 8, '0'),
                         left(file_id, 24)), 32) AS file_id,
    bitOr(bitAnd(version, 2305843009213693951),
          bitShiftLeft(toUInt64(multiIf(stage IN ('processed', 'trashed'), 2, stage = 'fetched', 1, 0)), 61)) AS version)
FROM files FINAL
SETTINGS distributed_foreground_insert = 1;
-- unless: SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = 'files' AND create_table_query LIKE '%PROJECTION stretches%'
EXCHANGE TABLES files AND files_0030;
DROP TABLE IF EXISTS files_0030 SYNC;
