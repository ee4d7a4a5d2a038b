-- Rows keep the number of the block they came in through merges: what is new is told without a clock.
ALTER TABLE hosts MODIFY SETTING enable_block_number_column = 1;
ALTER TABLE host_events MODIFY SETTING enable_block_number_column = 1;
ALTER TABLE files MODIFY SETTING enable_block_number_column = 1;
ALTER TABLE spectra MODIFY SETTING enable_block_number_column = 1;
ALTER TABLE sites MODIFY SETTING enable_block_number_column = 1;
ALTER TABLE tracks MODIFY SETTING enable_block_number_column = 1;
ALTER TABLE equipment_types MODIFY SETTING enable_block_number_column = 1;
ALTER TABLE file_types MODIFY SETTING enable_block_number_column = 1;
ALTER TABLE units MODIFY SETTING enable_block_number_column = 1;
ALTER TABLE gazetteer MODIFY SETTING enable_block_number_column = 1;
ALTER TABLE states MODIFY SETTING enable_block_number_column = 1;
ALTER TABLE counties MODIFY SETTING enable_block_number_column = 1;

CREATE TABLE IF NOT EXISTS receipts (
    sender String COMMENT 'Who sent the export',
    sequence UInt64 COMMENT 'Number of the export, counted by sender',
    kind LowCardinality(String) COMMENT 'complete or partial',
    outcome LowCardinality(String) COMMENT 'loaded, gap or refused',
    text String COMMENT 'Sentence for an operator' CODEC(ZSTD(3)),
    rows UInt64 COMMENT 'Rows loaded',
    watermark String COMMENT 'JSON: up to where this catalog has the sender''s rows, after this export' CODEC(ZSTD(3)),
    at DateTime64(6, 'UTC') COMMENT 'Version: the newest row counts'
) ENGINE = ReplacingMergeTree(at) ORDER BY (sender, sequence)
COMMENT 'Exports of other servers that this catalog has taken in';
