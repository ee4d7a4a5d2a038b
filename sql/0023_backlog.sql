-- What a look at a station saw and did not bring is told, and files tell when they were seen.
ALTER TABLE host_events ADD COLUMN IF NOT EXISTS
    pending Int64 DEFAULT -1 COMMENT 'Files seen at the station and not brought yet; -1: not counted' CODEC(ZSTD(1)) AFTER duration_s;
ALTER TABLE files MODIFY COLUMN
    discovered_at DateTime64(3, 'UTC') COMMENT 'When the backup that brought it saw it; 1970: not recorded' CODEC(ZSTD(1));
CREATE OR REPLACE VIEW host_events_now AS SELECT * FROM host_events FINAL;
